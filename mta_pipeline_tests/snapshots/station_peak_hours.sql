SELECT
  `t15`.`complex_id`,
  COALESCE(`t15`.`station`, CONCAT('Complex ', CAST(`t15`.`complex_id` AS STRING))) AS `name`,
  `t15`.`borough`,
  `t15`.`day_kind`,
  CAST(`t15`.`block_start` AS INT64) AS `block_start`,
  `t15`.`days`,
  `t15`.`entries_per_day`,
  `t15`.`entries_rank`,
  `t15`.`entries_share`,
  `t15`.`exits_per_day`,
  `t15`.`exits_rank`,
  `t15`.`exits_share`
FROM (
  SELECT
    `t14`.`complex_id`,
    `t14`.`day_kind`,
    `t14`.`block_start`,
    `t14`.`days`,
    `t14`.`entries`,
    `t14`.`exits`,
    `t14`.`entries_per_day`,
    `t14`.`exits_per_day`,
    `t14`.`entries_share`,
    `t14`.`exits_share`,
    `t14`.`entries_rank`,
    `t14`.`exits_rank`,
    `t5`.`known`,
    `t5`.`station`,
    `t5`.`borough`,
    `t5`.`latitude`,
    `t5`.`longitude`
  FROM (
    SELECT
      `t12`.`complex_id`,
      `t12`.`day_kind`,
      `t12`.`block_start`,
      `t12`.`days`,
      `t12`.`entries`,
      `t12`.`exits`,
      `t12`.`entries_per_day`,
      `t12`.`exits_per_day`,
      `t12`.`entries_share`,
      `t12`.`exits_share`,
      (
        RANK() OVER (
          PARTITION BY `t12`.`complex_id`, `t12`.`day_kind`
          ORDER BY `t12`.`entries_per_day` DESC
        ) - 1
      ) + 1 AS `entries_rank`,
      (
        RANK() OVER (
          PARTITION BY `t12`.`complex_id`, `t12`.`day_kind`
          ORDER BY `t12`.`exits_per_day` DESC
        ) - 1
      ) + 1 AS `exits_rank`
    FROM (
      SELECT
        `t11`.`complex_id`,
        `t11`.`day_kind`,
        `t11`.`block_start`,
        `t11`.`days`,
        `t11`.`entries`,
        `t11`.`exits`,
        ieee_divide(`t11`.`entries`, `t11`.`days`) AS `entries_per_day`,
        ieee_divide(`t11`.`exits`, `t11`.`days`) AS `exits_per_day`,
        ieee_divide(
          `t11`.`entries`,
          NULLIF(
            SUM(`t11`.`entries`) OVER (
              PARTITION BY `t11`.`complex_id`, `t11`.`day_kind`
              ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
            ),
            0
          )
        ) AS `entries_share`,
        ieee_divide(
          `t11`.`exits`,
          NULLIF(
            SUM(`t11`.`exits`) OVER (
              PARTITION BY `t11`.`complex_id`, `t11`.`day_kind`
              ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
            ),
            0
          )
        ) AS `exits_share`
      FROM (
        SELECT
          `t10`.`complex_id`,
          `t10`.`day_kind`,
          `t10`.`block_start`,
          COUNT(DISTINCT `t10`.`date`) AS `days`,
          CAST(ROUND(CAST(ROUND(SUM(`t10`.`entries`), 3) AS FLOAT64), 0) AS INT64) AS `entries`,
          CAST(ROUND(CAST(ROUND(SUM(`t10`.`exits`), 3) AS FLOAT64), 0) AS INT64) AS `exits`
        FROM (
          SELECT
            `t9`.`week`,
            `t9`.`complex_id`,
            `t9`.`entries`,
            `t9`.`exits`,
            `t9`.`clock`,
            `t9`.`date`,
            `t9`.`weekday`,
            `t9`.`day_kind`,
            `t9`.`clock` - (
              MOD(`t9`.`clock`, 4)
            ) AS `block_start`
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
        ) AS `t10`
        GROUP BY
          1,
          2,
          3
      ) AS `t11`
    ) AS `t12`
  ) AS `t14`
  LEFT OUTER JOIN (
    SELECT
      `t0`.`complex_id` AS `known`,
      `t0`.`name` AS `station`,
      `t0`.`borough`,
      `t0`.`latitude`,
      `t0`.`longitude`
    FROM `warehouse`.`dim_station` AS `t0`
  ) AS `t5`
    ON `t14`.`complex_id` = `t5`.`known`
) AS `t15`
