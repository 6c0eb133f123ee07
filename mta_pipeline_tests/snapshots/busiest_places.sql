SELECT
  `t14`.`weekday`,
  `t14`.`hour`,
  `t14`.`complex_id`,
  COALESCE(`t14`.`station`, CONCAT('Complex ', CAST(`t14`.`complex_id` AS STRING))) AS `name`,
  `t14`.`borough`,
  `t14`.`latitude`,
  `t14`.`longitude`,
  `t14`.`days`,
  `t14`.`entries_per_day`,
  `t14`.`entries_rank`,
  `t14`.`exits_per_day`,
  `t14`.`exits_rank`
FROM (
  SELECT
    `t13`.`weekday`,
    `t13`.`complex_id`,
    `t13`.`hour`,
    `t13`.`days`,
    `t13`.`entries`,
    `t13`.`exits`,
    `t13`.`entries_per_day`,
    `t13`.`exits_per_day`,
    `t13`.`entries_rank`,
    `t13`.`exits_rank`,
    `t5`.`known`,
    `t5`.`station`,
    `t5`.`borough`,
    `t5`.`latitude`,
    `t5`.`longitude`
  FROM (
    SELECT
      `t11`.`weekday`,
      `t11`.`complex_id`,
      `t11`.`hour`,
      `t11`.`days`,
      `t11`.`entries`,
      `t11`.`exits`,
      `t11`.`entries_per_day`,
      `t11`.`exits_per_day`,
      (
        RANK() OVER (PARTITION BY `t11`.`weekday`, `t11`.`hour` ORDER BY `t11`.`entries_per_day` DESC) - 1
      ) + 1 AS `entries_rank`,
      (
        RANK() OVER (PARTITION BY `t11`.`weekday`, `t11`.`hour` ORDER BY `t11`.`exits_per_day` DESC) - 1
      ) + 1 AS `exits_rank`
    FROM (
      SELECT
        `t10`.`weekday`,
        `t10`.`complex_id`,
        `t10`.`hour`,
        `t10`.`days`,
        `t10`.`entries`,
        `t10`.`exits`,
        ieee_divide(`t10`.`entries`, `t10`.`days`) AS `entries_per_day`,
        ieee_divide(`t10`.`exits`, `t10`.`days`) AS `exits_per_day`
      FROM (
        SELECT
          `t9`.`weekday`,
          `t9`.`complex_id`,
          `t9`.`clock` AS `hour`,
          COUNT(DISTINCT `t9`.`date`) AS `days`,
          CAST(ROUND(CAST(ROUND(SUM(`t9`.`entries`), 3) AS FLOAT64), 0) AS INT64) AS `entries`,
          CAST(ROUND(CAST(ROUND(SUM(`t9`.`exits`), 3) AS FLOAT64), 0) AS INT64) AS `exits`
        FROM (
          SELECT
            `t8`.`week`,
            `t8`.`complex_id`,
            `t8`.`entries`,
            `t8`.`exits`,
            `t8`.`clock`,
            `t7`.`date`,
            `t7`.`weekday`,
            `t7`.`day_kind`
          FROM (
            SELECT
              `t1`.`week`,
              `t1`.`complex_id`,
              `t1`.`hour`,
              `t1`.`entries`,
              `t1`.`exits`,
              DATE(`t1`.`hour`) AS `on`,
              EXTRACT(hour FROM `t1`.`hour`) AS `clock`
            FROM `lake`.`complex_hourly` AS `t1`
            WHERE
              `t1`.`complex_id` IS NOT NULL
          ) AS `t8`
          INNER JOIN (
            SELECT
              `t2`.`date`,
              `t2`.`weekday`,
              `t2`.`day_kind`
            FROM `warehouse`.`dim_date` AS `t2`
            WHERE
              `t2`.`is_whole_day`
          ) AS `t7`
            ON `t8`.`on` = `t7`.`date`
        ) AS `t9`
        GROUP BY
          1,
          2,
          3
      ) AS `t10`
    ) AS `t11`
  ) AS `t13`
  LEFT OUTER JOIN (
    SELECT
      `t0`.`complex_id` AS `known`,
      `t0`.`name` AS `station`,
      `t0`.`borough`,
      `t0`.`latitude`,
      `t0`.`longitude`
    FROM `warehouse`.`dim_station` AS `t0`
  ) AS `t5`
    ON `t13`.`complex_id` = `t5`.`known`
) AS `t14`
