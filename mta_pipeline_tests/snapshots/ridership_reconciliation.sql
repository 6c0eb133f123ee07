WITH `t36` AS (
  SELECT
    `t35`.`complex_id`,
    `t35`.`week`,
    `t35`.`month`,
    `t35`.`days`,
    `t35`.`entries`,
    `t35`.`published`,
    `t35`.`turnstile_seconds`,
    `t35`.`ok_seconds`,
    `t35`.`share_source`,
    CASE
      WHEN `t35`.`share_source` = 'before_omny'
      THEN 1
      WHEN `t35`.`share_source` = 'complex'
      THEN `t35`.`own_ridership`
      WHEN `t35`.`share_source` = 'subway'
      THEN `t35`.`subway_ridership`
      ELSE NULL
    END AS `riders`,
    CASE
      WHEN `t35`.`share_source` = 'before_omny'
      THEN 0
      WHEN `t35`.`share_source` = 'complex'
      THEN `t35`.`own_omny_ridership`
      WHEN `t35`.`share_source` = 'subway'
      THEN `t35`.`subway_omny_ridership`
      ELSE NULL
    END AS `taps`,
    CASE
      WHEN `t35`.`share_source` = 'before_omny'
      THEN 0.0
      WHEN `t35`.`share_source` = 'complex'
      THEN `t35`.`own_share_low`
      WHEN `t35`.`share_source` = 'subway'
      THEN `t35`.`subway_share_low`
      ELSE NULL
    END AS `low`,
    CASE
      WHEN `t35`.`share_source` = 'before_omny'
      THEN 0.0
      WHEN `t35`.`share_source` = 'complex'
      THEN `t35`.`own_share_high`
      WHEN `t35`.`share_source` = 'subway'
      THEN `t35`.`subway_share_high`
      ELSE NULL
    END AS `high`
  FROM (
    SELECT
      `t34`.`complex_id`,
      `t34`.`week`,
      `t34`.`month`,
      `t34`.`days`,
      `t34`.`entries`,
      `t34`.`published`,
      `t34`.`turnstile_seconds`,
      `t34`.`ok_seconds`,
      `t34`.`own_complex`,
      `t34`.`own_month`,
      `t34`.`own_ridership`,
      `t34`.`own_omny_ridership`,
      `t34`.`own_share_low`,
      `t34`.`own_share_high`,
      `t34`.`subway_month`,
      `t34`.`subway_ridership`,
      `t34`.`subway_omny_ridership`,
      `t34`.`subway_share_low`,
      `t34`.`subway_share_high`,
      CASE
        WHEN `t34`.`month` < DATE(2019, 5, 1)
        THEN 'before_omny'
        WHEN `t34`.`own_ridership` IS NOT NULL
        THEN 'complex'
        WHEN `t34`.`subway_ridership` IS NOT NULL
        THEN 'subway'
        ELSE 'unknown'
      END AS `share_source`
    FROM (
      SELECT
        `t33`.`complex_id`,
        `t33`.`week`,
        `t33`.`month`,
        `t33`.`days`,
        `t33`.`entries`,
        `t33`.`published`,
        `t33`.`turnstile_seconds`,
        `t33`.`ok_seconds`,
        `t19`.`own_complex`,
        `t19`.`own_month`,
        `t19`.`own_ridership`,
        `t19`.`own_omny_ridership`,
        `t19`.`own_share_low`,
        `t19`.`own_share_high`,
        `t20`.`subway_month`,
        `t20`.`subway_ridership`,
        `t20`.`subway_omny_ridership`,
        `t20`.`subway_share_low`,
        `t20`.`subway_share_high`
      FROM (
        SELECT
          `t31`.`complex_id`,
          `t31`.`week`,
          DATE_TRUNC(`t31`.`date`, MONTH) AS `month`,
          COUNT(*) AS `days`,
          SUM(`t31`.`entries`) AS `entries`,
          SUM(`t31`.`published`) AS `published`,
          SUM(`t31`.`turnstile_seconds`) AS `turnstile_seconds`,
          SUM(`t31`.`ok_seconds`) AS `ok_seconds`
        FROM (
          SELECT
            `t26`.`complex_id`,
            `t26`.`service_date`,
            `t26`.`entries`,
            `t26`.`exits`,
            `t26`.`turnstile_seconds`,
            `t26`.`ok_seconds`,
            `t13`.`date`,
            `t13`.`week`,
            `t30`.`there`,
            `t30`.`on`,
            `t30`.`published`
          FROM (
            SELECT
              *
            FROM (
              SELECT
                `t14`.`complex_id`,
                `t14`.`service_date`,
                IF(
                  (
                    SUM(`t14`.`ok_seconds`) = 0
                  ) AND (
                    SUM(`t14`.`entries`) = 0
                  ),
                  NULL,
                  SUM(`t14`.`entries`)
                ) AS `entries`,
                IF(SUM(`t14`.`ok_seconds`) = 0, NULL, SUM(`t14`.`exits`)) AS `exits`,
                SUM(`t14`.`turnstile_seconds`) AS `turnstile_seconds`,
                SUM(`t14`.`ok_seconds`) AS `ok_seconds`
              FROM (
                SELECT
                  *
                FROM `lake`.`complex_daily` AS `t4`
                WHERE
                  `t4`.`complex_id` IS NOT NULL
              ) AS `t14`
              GROUP BY
                1,
                2
            ) AS `t24`
            WHERE
              `t24`.`entries` IS NOT NULL
          ) AS `t26`
          INNER JOIN (
            SELECT
              `t3`.`date`,
              `t3`.`week`
            FROM `warehouse`.`dim_date` AS `t3`
            WHERE
              `t3`.`is_whole_day`
          ) AS `t13`
            ON `t26`.`service_date` = `t13`.`date`
          INNER JOIN (
            SELECT
              `t23`.`there`,
              `t23`.`on`,
              `t23`.`published`
            FROM (
              SELECT
                `t15`.`complex_id` AS `there`,
                `t15`.`on`,
                SUM(`t15`.`ridership`) AS `published`
              FROM (
                SELECT
                  `t5`.`week`,
                  `t5`.`complex_id`,
                  `t5`.`hour`,
                  `t5`.`ridership`,
                  `t5`.`transfers`,
                  `t5`.`omny_ridership`,
                  `t5`.`omny_share`,
                  DATE(`t5`.`hour`) AS `on`
                FROM `lake`.`complex_hourly_published` AS `t5`
                WHERE
                  `t5`.`complex_id` IS NOT NULL
              ) AS `t15`
              GROUP BY
                1,
                2
            ) AS `t23`
            WHERE
              EXISTS(
                SELECT
                  1
                FROM (
                  SELECT
                    `t22`.`on` AS `complete`
                  FROM (
                    SELECT
                      `t16`.`on`,
                      COUNT(DISTINCT `t16`.`hour`) AS `hours`
                    FROM (
                      SELECT
                        `t5`.`week`,
                        `t5`.`complex_id`,
                        `t5`.`hour`,
                        `t5`.`ridership`,
                        `t5`.`transfers`,
                        `t5`.`omny_ridership`,
                        `t5`.`omny_share`,
                        DATE(`t5`.`hour`) AS `on`
                      FROM `lake`.`complex_hourly_published` AS `t5`
                    ) AS `t16`
                    GROUP BY
                      1
                  ) AS `t22`
                  WHERE
                    `t22`.`hours` = IF(
                      (
                        EXTRACT(month FROM `t22`.`on`) = 3
                      )
                      AND (
                        EXTRACT(day FROM `t22`.`on`) >= 8
                      )
                      AND (
                        EXTRACT(day FROM `t22`.`on`) <= 14
                      )
                      AND (
                        (
                          MOD(EXTRACT(dayofweek FROM `t22`.`on`) + 5, 7)
                        ) = 6
                      ),
                      23,
                      24
                    )
                ) AS `t28`
                WHERE
                  `t23`.`on` = `t28`.`complete`
              )
          ) AS `t30`
            ON `t26`.`complex_id` = `t30`.`there` AND `t13`.`date` = `t30`.`on`
        ) AS `t31`
        GROUP BY
          1,
          2,
          3
      ) AS `t33`
      LEFT OUTER JOIN (
        SELECT
          `t2`.`complex_id` AS `own_complex`,
          `t2`.`month` AS `own_month`,
          `t2`.`ridership` AS `own_ridership`,
          `t2`.`omny_ridership` AS `own_omny_ridership`,
          `t2`.`share_low` AS `own_share_low`,
          `t2`.`share_high` AS `own_share_high`
        FROM `lake`.`omny_share` AS `t2`
        WHERE
          `t2`.`omny_ridership` < `t2`.`ridership` AND `t2`.`complex_id` IS NOT NULL
      ) AS `t19`
        ON `t33`.`complex_id` = `t19`.`own_complex` AND `t33`.`month` = `t19`.`own_month`
      LEFT OUTER JOIN (
        SELECT
          `t2`.`month` AS `subway_month`,
          `t2`.`ridership` AS `subway_ridership`,
          `t2`.`omny_ridership` AS `subway_omny_ridership`,
          `t2`.`share_low` AS `subway_share_low`,
          `t2`.`share_high` AS `subway_share_high`
        FROM `lake`.`omny_share` AS `t2`
        WHERE
          `t2`.`omny_ridership` < `t2`.`ridership` AND `t2`.`complex_id` IS NULL
      ) AS `t20`
        ON `t33`.`month` = `t20`.`subway_month`
    ) AS `t34`
  ) AS `t35`
)
SELECT
  `t52`.`complex_id`,
  COALESCE(`t52`.`station`, CONCAT('Complex ', CAST(`t52`.`complex_id` AS STRING))) AS `name`,
  `t52`.`borough`,
  `t52`.`week`,
  `t52`.`days`,
  `t52`.`entries`,
  `t52`.`ridership_estimate`,
  `t52`.`published`,
  `t52`.`ratio`,
  `t52`.`has_fallback_share`,
  `t52`.`coverage`,
  `t52`.`calibrated_estimate`,
  `t52`.`calibrated_ratio`
FROM (
  SELECT
    `t51`.`complex_id`,
    `t51`.`week`,
    `t51`.`days`,
    `t51`.`entries`,
    `t51`.`ridership_estimate`,
    `t51`.`published`,
    `t51`.`turnstile_seconds`,
    `t51`.`ok_seconds`,
    `t51`.`has_fallback_share`,
    `t51`.`calibrated_estimate`,
    `t51`.`ratio`,
    `t51`.`calibrated_ratio`,
    `t51`.`coverage`,
    `t8`.`known`,
    `t8`.`station`,
    `t8`.`borough`,
    `t8`.`latitude`,
    `t8`.`longitude`
  FROM (
    SELECT
      `t49`.`complex_id`,
      `t49`.`week`,
      `t49`.`days`,
      `t49`.`entries`,
      `t49`.`ridership_estimate`,
      `t49`.`published`,
      `t49`.`turnstile_seconds`,
      `t49`.`ok_seconds`,
      `t49`.`has_fallback_share`,
      `t49`.`calibrated_estimate`,
      ieee_divide(`t49`.`ridership_estimate`, NULLIF(`t49`.`published`, 0)) AS `ratio`,
      ieee_divide(`t49`.`calibrated_estimate`, NULLIF(`t49`.`published`, 0)) AS `calibrated_ratio`,
      ieee_divide(COALESCE(`t49`.`ok_seconds`, 0), NULLIF(`t49`.`turnstile_seconds`, 0)) AS `coverage`
    FROM (
      SELECT
        `t48`.`complex_id`,
        `t48`.`week`,
        SUM(`t48`.`days`) AS `days`,
        SUM(`t48`.`entries`) AS `entries`,
        SUM(`t48`.`ridership_estimate`) AS `ridership_estimate`,
        SUM(`t48`.`published`) AS `published`,
        SUM(`t48`.`turnstile_seconds`) AS `turnstile_seconds`,
        SUM(`t48`.`ok_seconds`) AS `ok_seconds`,
        LOGICAL_OR(`t48`.`share_source` = 'subway') AS `has_fallback_share`,
        IF(
          LOGICAL_OR(`t48`.`calibrated_estimate` IS NULL),
          NULL,
          SUM(`t48`.`calibrated_estimate`)
        ) AS `calibrated_estimate`
      FROM (
        SELECT
          `t47`.`complex_id`,
          `t47`.`week`,
          `t47`.`month`,
          `t47`.`days`,
          `t47`.`entries`,
          `t47`.`published`,
          `t47`.`turnstile_seconds`,
          `t47`.`ok_seconds`,
          `t47`.`share_source`,
          `t47`.`omny_share`,
          `t47`.`ridership_estimate`,
          `t47`.`estimate_low`,
          `t47`.`estimate_high`,
          `t47`.`factor_month`,
          CASE
            WHEN `t47`.`factor_month` IS NULL
            THEN 'unknown'
            WHEN `t47`.`factor_month` = `t47`.`month`
            THEN 'month'
            ELSE 'nearest_month'
          END AS `factor_source`,
          ieee_divide(`t47`.`others_entries`, `t47`.`others_metrocard_ridership`) AS `entry_factor`,
          ieee_divide(
            `t47`.`ridership_estimate`,
            ieee_divide(`t47`.`others_entries`, `t47`.`others_metrocard_ridership`)
          ) AS `calibrated_estimate`
        FROM (
          SELECT
            `t42`.`complex_id`,
            `t42`.`week`,
            `t42`.`month`,
            `t42`.`days`,
            `t42`.`entries`,
            `t42`.`published`,
            `t42`.`turnstile_seconds`,
            `t42`.`ok_seconds`,
            `t42`.`share_source`,
            `t42`.`omny_share`,
            `t42`.`ridership_estimate`,
            `t42`.`estimate_low`,
            `t42`.`estimate_high`,
            IF(
              (
                (
                  `t46`.`all_entries` - COALESCE(`t17`.`own_entries`, 0)
                ) > 0
              )
              AND (
                (
                  `t46`.`all_metrocard_ridership` - COALESCE(`t17`.`own_metrocard_ridership`, 0)
                ) >= 10000
              ),
              `t46`.`all_entries` - COALESCE(`t17`.`own_entries`, 0),
              NULL
            ) AS `others_entries`,
            IF(
              (
                (
                  `t46`.`all_entries` - COALESCE(`t17`.`own_entries`, 0)
                ) > 0
              )
              AND (
                (
                  `t46`.`all_metrocard_ridership` - COALESCE(`t17`.`own_metrocard_ridership`, 0)
                ) >= 10000
              ),
              `t46`.`all_metrocard_ridership` - COALESCE(`t17`.`own_metrocard_ridership`, 0),
              NULL
            ) AS `others_metrocard_ridership`,
            IF(
              (
                (
                  `t46`.`all_entries` - COALESCE(`t17`.`own_entries`, 0)
                ) > 0
              )
              AND (
                (
                  `t46`.`all_metrocard_ridership` - COALESCE(`t17`.`own_metrocard_ridership`, 0)
                ) >= 10000
              ),
              `t46`.`factor_month`,
              NULL
            ) AS `factor_month`
          FROM (
            SELECT
              `t37`.`complex_id`,
              `t37`.`week`,
              `t37`.`month`,
              `t37`.`days`,
              `t37`.`entries`,
              `t37`.`published`,
              `t37`.`turnstile_seconds`,
              `t37`.`ok_seconds`,
              `t37`.`share_source`,
              ieee_divide(`t37`.`taps`, `t37`.`riders`) AS `omny_share`,
              ieee_divide(`t37`.`entries` * `t37`.`riders`, `t37`.`riders` - `t37`.`taps`) AS `ridership_estimate`,
              ieee_divide(
                `t37`.`entries`,
                NULLIF(1 - COALESCE(`t37`.`low`, ieee_divide(`t37`.`taps`, `t37`.`riders`)), 0)
              ) * 0.933 AS `estimate_low`,
              ieee_divide(
                `t37`.`entries`,
                NULLIF(1 - COALESCE(`t37`.`high`, ieee_divide(`t37`.`taps`, `t37`.`riders`)), 0)
              ) * 1.067 AS `estimate_high`
            FROM `t36` AS `t37`
            WHERE
              ieee_divide(`t37`.`entries` * `t37`.`riders`, `t37`.`riders` - `t37`.`taps`) IS NOT NULL
          ) AS `t42`
          LEFT OUTER JOIN (
            SELECT
              *
            FROM (
              SELECT
                `t43`.`of_month`,
                `t43`.`factor_month`,
                `t43`.`all_entries`,
                `t43`.`all_metrocard_ridership`,
                ROW_NUMBER() OVER (
                  PARTITION BY `t43`.`of_month`
                  ORDER BY ABS(
                    (
                      (
                        EXTRACT(year FROM `t43`.`of_month`) * 12
                      ) + EXTRACT(month FROM `t43`.`of_month`)
                    ) - (
                      (
                        EXTRACT(year FROM `t43`.`factor_month`) * 12
                      ) + EXTRACT(month FROM `t43`.`factor_month`)
                    )
                  ) ASC, `t43`.`factor_month` ASC
                ) - 1 AS `order`
              FROM (
                SELECT
                  `t41`.`of_month`,
                  `t18`.`factor_month`,
                  `t18`.`all_entries`,
                  `t18`.`all_metrocard_ridership`
                FROM (
                  SELECT
                    `t38`.`month` AS `of_month`
                  FROM (
                    SELECT DISTINCT
                      `t37`.`month`
                    FROM `t36` AS `t37`
                    WHERE
                      ieee_divide(`t37`.`entries` * `t37`.`riders`, `t37`.`riders` - `t37`.`taps`) IS NOT NULL
                  ) AS `t38`
                ) AS `t41`
                CROSS JOIN (
                  SELECT
                    `t1`.`month` AS `factor_month`,
                    `t1`.`entries` AS `all_entries`,
                    `t1`.`metrocard_ridership` AS `all_metrocard_ridership`
                  FROM `lake`.`entry_factor` AS `t1`
                  WHERE
                    `t1`.`complex_id` IS NULL
                    AND `t1`.`days` >= 7
                    AND `t1`.`metrocard_ridership` >= 10000
                ) AS `t18`
              ) AS `t43`
            ) AS `t44`
            WHERE
              `t44`.`order` = 0
          ) AS `t46`
            ON `t42`.`month` = `t46`.`of_month`
          LEFT OUTER JOIN (
            SELECT
              `t1`.`complex_id` AS `own_complex`,
              `t1`.`month` AS `own_month`,
              `t1`.`entries` AS `own_entries`,
              `t1`.`metrocard_ridership` AS `own_metrocard_ridership`
            FROM `lake`.`entry_factor` AS `t1`
            WHERE
              `t1`.`complex_id` IS NOT NULL
          ) AS `t17`
            ON `t42`.`complex_id` = `t17`.`own_complex`
            AND `t46`.`factor_month` = `t17`.`own_month`
        ) AS `t47`
      ) AS `t48`
      GROUP BY
        1,
        2
    ) AS `t49`
  ) AS `t51`
  LEFT OUTER JOIN (
    SELECT
      `t0`.`complex_id` AS `known`,
      `t0`.`name` AS `station`,
      `t0`.`borough`,
      `t0`.`latitude`,
      `t0`.`longitude`
    FROM `warehouse`.`dim_station` AS `t0`
  ) AS `t8`
    ON `t51`.`complex_id` = `t8`.`known`
) AS `t52`
