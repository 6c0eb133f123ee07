"""IO managers: they write the outputs of assets to the lake and load them as inputs of other assets."""
