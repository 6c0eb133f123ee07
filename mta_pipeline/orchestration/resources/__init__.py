"""Resources of assets: the feed, the portal, the lake, the engine of the marts and the warehouse."""
