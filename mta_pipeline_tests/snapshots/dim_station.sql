SELECT
  *
FROM `lake`.`station_complexes` AS `t0`
