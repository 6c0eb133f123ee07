SELECT
  `t17`.`weekday`,
  `t17`.`hour`,
  `t17`.`complex_id`,
  `t17`.`name`,
  `t17`.`borough`,
  `t17`.`latitude`,
  `t17`.`longitude`,
  `t17`.`days`,
  `t17`.`entries_per_day`,
  `t17`.`entries_rank`,
  `t17`.`exits_per_day`,
  `t17`.`exits_rank`
FROM (
  SELECT
    `t16`.*
    EXCEPT (`known`, `station`)
  FROM (
    SELECT
      `t15`.`weekday`,
      `t15`.`complex_id`,
      `t15`.`hour`,
      `t15`.`days`,
      `t15`.`entries`,
      `t15`.`exits`,
      `t15`.`entries_per_day`,
      `t15`.`exits_per_day`,
      `t15`.`entries_rank`,
      `t15`.`exits_rank`,
      `t15`.`known`,
      `t15`.`station`,
      `t15`.`borough`,
      `t15`.`latitude`,
      `t15`.`longitude`,
      COALESCE(`t15`.`station`, CONCAT('Complex ', CAST(`t15`.`complex_id` AS STRING))) AS `name`
    FROM (
      SELECT
        `t14`.`weekday`,
        `t14`.`complex_id`,
        `t14`.`hour`,
        `t14`.`days`,
        `t14`.`entries`,
        `t14`.`exits`,
        `t14`.`entries_per_day`,
        `t14`.`exits_per_day`,
        `t14`.`entries_rank`,
        `t14`.`exits_rank`,
        `t5`.`known`,
        `t5`.`station`,
        `t5`.`borough`,
        `t5`.`latitude`,
        `t5`.`longitude`
      FROM (
        SELECT
          `t12`.`weekday`,
          `t12`.`complex_id`,
          `t12`.`hour`,
          `t12`.`days`,
          `t12`.`entries`,
          `t12`.`exits`,
          `t12`.`entries_per_day`,
          `t12`.`exits_per_day`,
          (
            RANK() OVER (PARTITION BY `t12`.`weekday`, `t12`.`hour` ORDER BY `t12`.`entries_per_day` DESC) - 1
          ) + 1 AS `entries_rank`,
          (
            RANK() OVER (PARTITION BY `t12`.`weekday`, `t12`.`hour` ORDER BY `t12`.`exits_per_day` DESC) - 1
          ) + 1 AS `exits_rank`
        FROM (
          SELECT
            `t11`.`weekday`,
            `t11`.`complex_id`,
            `t11`.`hour`,
            `t11`.`days`,
            `t11`.`entries`,
            `t11`.`exits`,
            ieee_divide(`t11`.`entries`, `t11`.`days`) AS `entries_per_day`,
            ieee_divide(`t11`.`exits`, `t11`.`days`) AS `exits_per_day`
          FROM (
            SELECT
              `t10`.`weekday`,
              `t10`.`complex_id`,
              `t10`.`clock` AS `hour`,
              COUNT(DISTINCT `t10`.`date`) AS `days`,
              CAST(ROUND(CAST(ROUND(SUM(`t10`.`entries`), 3) AS FLOAT64), 0) AS INT64) AS `entries`,
              CAST(ROUND(CAST(ROUND(SUM(`t10`.`exits`), 3) AS FLOAT64), 0) AS INT64) AS `exits`
            FROM (
              SELECT
                `t9`.*
                EXCEPT (`hour`, `on`)
              FROM (
                SELECT
                  `t8`.`week`,
                  `t8`.`complex_id`,
                  `t8`.`hour`,
                  `t8`.`entries`,
                  `t8`.`exits`,
                  `t8`.`on`,
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
  ) AS `t16`
) AS `t17`
