SELECT
  `t18`.`complex_id`,
  `t18`.`name`,
  `t18`.`borough`,
  `t18`.`day_kind`,
  CAST(`t18`.`block_start` AS INT64) AS `block_start`,
  `t18`.`days`,
  `t18`.`entries_per_day`,
  `t18`.`entries_rank`,
  `t18`.`entries_share`,
  `t18`.`exits_per_day`,
  `t18`.`exits_rank`,
  `t18`.`exits_share`
FROM (
  SELECT
    `t17`.*
    EXCEPT (`known`, `station`)
  FROM (
    SELECT
      `t16`.`complex_id`,
      `t16`.`day_kind`,
      `t16`.`block_start`,
      `t16`.`days`,
      `t16`.`entries`,
      `t16`.`exits`,
      `t16`.`entries_per_day`,
      `t16`.`exits_per_day`,
      `t16`.`entries_share`,
      `t16`.`exits_share`,
      `t16`.`entries_rank`,
      `t16`.`exits_rank`,
      `t16`.`known`,
      `t16`.`station`,
      `t16`.`borough`,
      `t16`.`latitude`,
      `t16`.`longitude`,
      COALESCE(`t16`.`station`, CONCAT('Complex ', CAST(`t16`.`complex_id` AS STRING))) AS `name`
    FROM (
      SELECT
        `t15`.`complex_id`,
        `t15`.`day_kind`,
        `t15`.`block_start`,
        `t15`.`days`,
        `t15`.`entries`,
        `t15`.`exits`,
        `t15`.`entries_per_day`,
        `t15`.`exits_per_day`,
        `t15`.`entries_share`,
        `t15`.`exits_share`,
        `t15`.`entries_rank`,
        `t15`.`exits_rank`,
        `t5`.`known`,
        `t5`.`station`,
        `t5`.`borough`,
        `t5`.`latitude`,
        `t5`.`longitude`
      FROM (
        SELECT
          `t13`.`complex_id`,
          `t13`.`day_kind`,
          `t13`.`block_start`,
          `t13`.`days`,
          `t13`.`entries`,
          `t13`.`exits`,
          `t13`.`entries_per_day`,
          `t13`.`exits_per_day`,
          `t13`.`entries_share`,
          `t13`.`exits_share`,
          (
            RANK() OVER (
              PARTITION BY `t13`.`complex_id`, `t13`.`day_kind`
              ORDER BY `t13`.`entries_per_day` DESC
            ) - 1
          ) + 1 AS `entries_rank`,
          (
            RANK() OVER (
              PARTITION BY `t13`.`complex_id`, `t13`.`day_kind`
              ORDER BY `t13`.`exits_per_day` DESC
            ) - 1
          ) + 1 AS `exits_rank`
        FROM (
          SELECT
            `t12`.`complex_id`,
            `t12`.`day_kind`,
            `t12`.`block_start`,
            `t12`.`days`,
            `t12`.`entries`,
            `t12`.`exits`,
            ieee_divide(`t12`.`entries`, `t12`.`days`) AS `entries_per_day`,
            ieee_divide(`t12`.`exits`, `t12`.`days`) AS `exits_per_day`,
            ieee_divide(
              `t12`.`entries`,
              NULLIF(
                SUM(`t12`.`entries`) OVER (
                  PARTITION BY `t12`.`complex_id`, `t12`.`day_kind`
                  ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
                ),
                0
              )
            ) AS `entries_share`,
            ieee_divide(
              `t12`.`exits`,
              NULLIF(
                SUM(`t12`.`exits`) OVER (
                  PARTITION BY `t12`.`complex_id`, `t12`.`day_kind`
                  ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
                ),
                0
              )
            ) AS `exits_share`
          FROM (
            SELECT
              `t11`.`complex_id`,
              `t11`.`day_kind`,
              `t11`.`block_start`,
              COUNT(DISTINCT `t11`.`date`) AS `days`,
              CAST(ROUND(CAST(ROUND(SUM(`t11`.`entries`), 3) AS FLOAT64), 0) AS INT64) AS `entries`,
              CAST(ROUND(CAST(ROUND(SUM(`t11`.`exits`), 3) AS FLOAT64), 0) AS INT64) AS `exits`
            FROM (
              SELECT
                `t10`.`week`,
                `t10`.`complex_id`,
                `t10`.`entries`,
                `t10`.`exits`,
                `t10`.`clock`,
                `t10`.`date`,
                `t10`.`weekday`,
                `t10`.`day_kind`,
                `t10`.`clock` - (
                  MOD(`t10`.`clock`, 4)
                ) AS `block_start`
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
            ) AS `t11`
            GROUP BY
              1,
              2,
              3
          ) AS `t12`
        ) AS `t13`
      ) AS `t15`
      LEFT OUTER JOIN (
        SELECT
          `t0`.`complex_id` AS `known`,
          `t0`.`name` AS `station`,
          `t0`.`borough`,
          `t0`.`latitude`,
          `t0`.`longitude`
        FROM `warehouse`.`dim_station` AS `t0`
      ) AS `t5`
        ON `t15`.`complex_id` = `t5`.`known`
    ) AS `t16`
  ) AS `t17`
) AS `t18`
