SELECT
  *
FROM `lake`.`control_areas` AS `t0`
