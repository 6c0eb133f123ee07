WITH `t23` AS (
  SELECT
    `t22`.`complex_id`,
    `t22`.`service_date`,
    `t22`.`entries`,
    `t22`.`exits`,
    `t22`.`turnstile_seconds`,
    `t22`.`ok_seconds`,
    `t22`.`month`,
    `t22`.`share_source`,
    CASE
      WHEN `t22`.`share_source` = 'before_omny'
      THEN 1
      WHEN `t22`.`share_source` = 'complex'
      THEN `t22`.`own_ridership`
      WHEN `t22`.`share_source` = 'subway'
      THEN `t22`.`subway_ridership`
      ELSE NULL
    END AS `riders`,
    CASE
      WHEN `t22`.`share_source` = 'before_omny'
      THEN 0
      WHEN `t22`.`share_source` = 'complex'
      THEN `t22`.`own_omny_ridership`
      WHEN `t22`.`share_source` = 'subway'
      THEN `t22`.`subway_omny_ridership`
      ELSE NULL
    END AS `taps`,
    CASE
      WHEN `t22`.`share_source` = 'before_omny'
      THEN 0.0
      WHEN `t22`.`share_source` = 'complex'
      THEN `t22`.`own_share_low`
      WHEN `t22`.`share_source` = 'subway'
      THEN `t22`.`subway_share_low`
      ELSE NULL
    END AS `low`,
    CASE
      WHEN `t22`.`share_source` = 'before_omny'
      THEN 0.0
      WHEN `t22`.`share_source` = 'complex'
      THEN `t22`.`own_share_high`
      WHEN `t22`.`share_source` = 'subway'
      THEN `t22`.`subway_share_high`
      ELSE NULL
    END AS `high`
  FROM (
    SELECT
      `t21`.`complex_id`,
      `t21`.`service_date`,
      `t21`.`entries`,
      `t21`.`exits`,
      `t21`.`turnstile_seconds`,
      `t21`.`ok_seconds`,
      `t21`.`month`,
      `t21`.`own_complex`,
      `t21`.`own_month`,
      `t21`.`own_ridership`,
      `t21`.`own_omny_ridership`,
      `t21`.`own_share_low`,
      `t21`.`own_share_high`,
      `t21`.`subway_month`,
      `t21`.`subway_ridership`,
      `t21`.`subway_omny_ridership`,
      `t21`.`subway_share_low`,
      `t21`.`subway_share_high`,
      CASE
        WHEN `t21`.`month` < DATE(2019, 5, 1)
        THEN 'before_omny'
        WHEN `t21`.`own_ridership` IS NOT NULL
        THEN 'complex'
        WHEN `t21`.`subway_ridership` IS NOT NULL
        THEN 'subway'
        ELSE 'unknown'
      END AS `share_source`
    FROM (
      SELECT
        `t20`.`complex_id`,
        `t20`.`service_date`,
        `t20`.`entries`,
        `t20`.`exits`,
        `t20`.`turnstile_seconds`,
        `t20`.`ok_seconds`,
        `t20`.`month`,
        `t16`.`own_complex`,
        `t16`.`own_month`,
        `t16`.`own_ridership`,
        `t16`.`own_omny_ridership`,
        `t16`.`own_share_low`,
        `t16`.`own_share_high`,
        `t17`.`subway_month`,
        `t17`.`subway_ridership`,
        `t17`.`subway_omny_ridership`,
        `t17`.`subway_share_low`,
        `t17`.`subway_share_high`
      FROM (
        SELECT
          `t18`.`complex_id`,
          `t18`.`service_date`,
          `t18`.`entries`,
          `t18`.`exits`,
          `t18`.`turnstile_seconds`,
          `t18`.`ok_seconds`,
          DATE_TRUNC(`t18`.`service_date`, MONTH) AS `month`
        FROM (
          SELECT
            `t13`.`complex_id`,
            `t13`.`service_date`,
            IF(
              (
                SUM(`t13`.`ok_seconds`) = 0
              ) AND (
                SUM(`t13`.`entries`) = 0
              ),
              NULL,
              SUM(`t13`.`entries`)
            ) AS `entries`,
            IF(SUM(`t13`.`ok_seconds`) = 0, NULL, SUM(`t13`.`exits`)) AS `exits`,
            SUM(`t13`.`turnstile_seconds`) AS `turnstile_seconds`,
            SUM(`t13`.`ok_seconds`) AS `ok_seconds`
          FROM (
            SELECT
              *
            FROM `lake`.`complex_daily` AS `t4`
            WHERE
              `t4`.`complex_id` IS NOT NULL
          ) AS `t13`
          GROUP BY
            1,
            2
        ) AS `t18`
      ) AS `t20`
      LEFT OUTER JOIN (
        SELECT
          `t3`.`complex_id` AS `own_complex`,
          `t3`.`month` AS `own_month`,
          `t3`.`ridership` AS `own_ridership`,
          `t3`.`omny_ridership` AS `own_omny_ridership`,
          `t3`.`share_low` AS `own_share_low`,
          `t3`.`share_high` AS `own_share_high`
        FROM `lake`.`omny_share` AS `t3`
        WHERE
          `t3`.`omny_ridership` < `t3`.`ridership` AND `t3`.`complex_id` IS NOT NULL
      ) AS `t16`
        ON `t20`.`complex_id` = `t16`.`own_complex` AND `t20`.`month` = `t16`.`own_month`
      LEFT OUTER JOIN (
        SELECT
          `t3`.`month` AS `subway_month`,
          `t3`.`ridership` AS `subway_ridership`,
          `t3`.`omny_ridership` AS `subway_omny_ridership`,
          `t3`.`share_low` AS `subway_share_low`,
          `t3`.`share_high` AS `subway_share_high`
        FROM `lake`.`omny_share` AS `t3`
        WHERE
          `t3`.`omny_ridership` < `t3`.`ridership` AND `t3`.`complex_id` IS NULL
      ) AS `t17`
        ON `t20`.`month` = `t17`.`subway_month`
    ) AS `t21`
  ) AS `t22`
)
SELECT
  `t40`.`complex_id`,
  COALESCE(`t40`.`station`, CONCAT('Complex ', CAST(`t40`.`complex_id` AS STRING))) AS `name`,
  `t40`.`borough`,
  `t40`.`service_date`,
  `t40`.`entries`,
  `t40`.`share_source`,
  `t40`.`omny_share`,
  `t40`.`ridership_estimate`,
  `t40`.`estimate_low`,
  `t40`.`estimate_high`,
  `t40`.`coverage`,
  `t40`.`is_whole_day`,
  `t40`.`factor_source`,
  `t40`.`factor_month`,
  `t40`.`entry_factor`,
  `t40`.`calibrated_estimate`
FROM (
  SELECT
    `t39`.`complex_id`,
    `t39`.`service_date`,
    `t39`.`entries`,
    `t39`.`exits`,
    `t39`.`turnstile_seconds`,
    `t39`.`ok_seconds`,
    `t39`.`month`,
    `t39`.`share_source`,
    `t39`.`omny_share`,
    `t39`.`ridership_estimate`,
    `t39`.`estimate_low`,
    `t39`.`estimate_high`,
    `t39`.`factor_month`,
    `t39`.`factor_source`,
    `t39`.`entry_factor`,
    `t39`.`calibrated_estimate`,
    `t39`.`whole`,
    `t39`.`coverage`,
    `t39`.`is_whole_day`,
    `t7`.`known`,
    `t7`.`station`,
    `t7`.`borough`,
    `t7`.`latitude`,
    `t7`.`longitude`
  FROM (
    SELECT
      `t37`.`complex_id`,
      `t37`.`service_date`,
      `t37`.`entries`,
      `t37`.`exits`,
      `t37`.`turnstile_seconds`,
      `t37`.`ok_seconds`,
      `t37`.`month`,
      `t37`.`share_source`,
      `t37`.`omny_share`,
      `t37`.`ridership_estimate`,
      `t37`.`estimate_low`,
      `t37`.`estimate_high`,
      `t37`.`factor_month`,
      `t37`.`factor_source`,
      `t37`.`entry_factor`,
      `t37`.`calibrated_estimate`,
      `t37`.`whole`,
      ieee_divide(COALESCE(`t37`.`ok_seconds`, 0), NULLIF(`t37`.`turnstile_seconds`, 0)) AS `coverage`,
      `t37`.`whole` IS NOT NULL AS `is_whole_day`
    FROM (
      SELECT
        `t36`.`complex_id`,
        `t36`.`service_date`,
        `t36`.`entries`,
        `t36`.`exits`,
        `t36`.`turnstile_seconds`,
        `t36`.`ok_seconds`,
        `t36`.`month`,
        `t36`.`share_source`,
        `t36`.`omny_share`,
        `t36`.`ridership_estimate`,
        `t36`.`estimate_low`,
        `t36`.`estimate_high`,
        `t36`.`factor_month`,
        `t36`.`factor_source`,
        `t36`.`entry_factor`,
        `t36`.`calibrated_estimate`,
        `t8`.`whole`
      FROM (
        SELECT
          `t34`.`complex_id`,
          `t34`.`service_date`,
          `t34`.`entries`,
          `t34`.`exits`,
          `t34`.`turnstile_seconds`,
          `t34`.`ok_seconds`,
          `t34`.`month`,
          `t34`.`share_source`,
          `t34`.`omny_share`,
          `t34`.`ridership_estimate`,
          `t34`.`estimate_low`,
          `t34`.`estimate_high`,
          `t34`.`factor_month`,
          CASE
            WHEN `t34`.`factor_month` IS NULL
            THEN 'unknown'
            WHEN `t34`.`factor_month` = `t34`.`month`
            THEN 'month'
            ELSE 'nearest_month'
          END AS `factor_source`,
          ieee_divide(`t34`.`others_entries`, `t34`.`others_metrocard_ridership`) AS `entry_factor`,
          ieee_divide(
            `t34`.`ridership_estimate`,
            ieee_divide(`t34`.`others_entries`, `t34`.`others_metrocard_ridership`)
          ) AS `calibrated_estimate`
        FROM (
          SELECT
            `t30`.`complex_id`,
            `t30`.`service_date`,
            `t30`.`entries`,
            `t30`.`exits`,
            `t30`.`turnstile_seconds`,
            `t30`.`ok_seconds`,
            `t30`.`month`,
            `t30`.`share_source`,
            `t30`.`omny_share`,
            `t30`.`ridership_estimate`,
            `t30`.`estimate_low`,
            `t30`.`estimate_high`,
            IF(
              (
                (
                  `t33`.`all_entries` - COALESCE(`t14`.`own_entries`, 0)
                ) > 0
              )
              AND (
                (
                  `t33`.`all_metrocard_ridership` - COALESCE(`t14`.`own_metrocard_ridership`, 0)
                ) >= 10000
              ),
              `t33`.`all_entries` - COALESCE(`t14`.`own_entries`, 0),
              NULL
            ) AS `others_entries`,
            IF(
              (
                (
                  `t33`.`all_entries` - COALESCE(`t14`.`own_entries`, 0)
                ) > 0
              )
              AND (
                (
                  `t33`.`all_metrocard_ridership` - COALESCE(`t14`.`own_metrocard_ridership`, 0)
                ) >= 10000
              ),
              `t33`.`all_metrocard_ridership` - COALESCE(`t14`.`own_metrocard_ridership`, 0),
              NULL
            ) AS `others_metrocard_ridership`,
            IF(
              (
                (
                  `t33`.`all_entries` - COALESCE(`t14`.`own_entries`, 0)
                ) > 0
              )
              AND (
                (
                  `t33`.`all_metrocard_ridership` - COALESCE(`t14`.`own_metrocard_ridership`, 0)
                ) >= 10000
              ),
              `t33`.`factor_month`,
              NULL
            ) AS `factor_month`
          FROM (
            SELECT
              `t24`.`complex_id`,
              `t24`.`service_date`,
              `t24`.`entries`,
              `t24`.`exits`,
              `t24`.`turnstile_seconds`,
              `t24`.`ok_seconds`,
              `t24`.`month`,
              `t24`.`share_source`,
              ieee_divide(`t24`.`taps`, `t24`.`riders`) AS `omny_share`,
              ieee_divide(`t24`.`entries` * `t24`.`riders`, `t24`.`riders` - `t24`.`taps`) AS `ridership_estimate`,
              ieee_divide(
                `t24`.`entries`,
                NULLIF(1 - COALESCE(`t24`.`low`, ieee_divide(`t24`.`taps`, `t24`.`riders`)), 0)
              ) * 0.933 AS `estimate_low`,
              ieee_divide(
                `t24`.`entries`,
                NULLIF(1 - COALESCE(`t24`.`high`, ieee_divide(`t24`.`taps`, `t24`.`riders`)), 0)
              ) * 1.067 AS `estimate_high`
            FROM `t23` AS `t24`
          ) AS `t30`
          LEFT OUTER JOIN (
            SELECT
              *
            FROM (
              SELECT
                `t28`.`of_month`,
                `t28`.`factor_month`,
                `t28`.`all_entries`,
                `t28`.`all_metrocard_ridership`,
                ROW_NUMBER() OVER (
                  PARTITION BY `t28`.`of_month`
                  ORDER BY ABS(
                    (
                      (
                        EXTRACT(year FROM `t28`.`of_month`) * 12
                      ) + EXTRACT(month FROM `t28`.`of_month`)
                    ) - (
                      (
                        EXTRACT(year FROM `t28`.`factor_month`) * 12
                      ) + EXTRACT(month FROM `t28`.`factor_month`)
                    )
                  ) ASC, `t28`.`factor_month` ASC
                ) - 1 AS `order`
              FROM (
                SELECT
                  `t27`.`of_month`,
                  `t15`.`factor_month`,
                  `t15`.`all_entries`,
                  `t15`.`all_metrocard_ridership`
                FROM (
                  SELECT
                    `t25`.`month` AS `of_month`
                  FROM (
                    SELECT DISTINCT
                      `t24`.`month`
                    FROM `t23` AS `t24`
                  ) AS `t25`
                ) AS `t27`
                CROSS JOIN (
                  SELECT
                    `t2`.`month` AS `factor_month`,
                    `t2`.`entries` AS `all_entries`,
                    `t2`.`metrocard_ridership` AS `all_metrocard_ridership`
                  FROM `lake`.`entry_factor` AS `t2`
                  WHERE
                    `t2`.`complex_id` IS NULL
                    AND `t2`.`days` >= 7
                    AND `t2`.`metrocard_ridership` >= 10000
                ) AS `t15`
              ) AS `t28`
            ) AS `t31`
            WHERE
              `t31`.`order` = 0
          ) AS `t33`
            ON `t30`.`month` = `t33`.`of_month`
          LEFT OUTER JOIN (
            SELECT
              `t2`.`complex_id` AS `own_complex`,
              `t2`.`month` AS `own_month`,
              `t2`.`entries` AS `own_entries`,
              `t2`.`metrocard_ridership` AS `own_metrocard_ridership`
            FROM `lake`.`entry_factor` AS `t2`
            WHERE
              `t2`.`complex_id` IS NOT NULL
          ) AS `t14`
            ON `t30`.`complex_id` = `t14`.`own_complex`
            AND `t33`.`factor_month` = `t14`.`own_month`
        ) AS `t34`
      ) AS `t36`
      LEFT OUTER JOIN (
        SELECT
          `t1`.`date` AS `whole`
        FROM `warehouse`.`dim_date` AS `t1`
        WHERE
          `t1`.`is_whole_day`
      ) AS `t8`
        ON `t36`.`service_date` = `t8`.`whole`
    ) AS `t37`
  ) AS `t39`
  LEFT OUTER JOIN (
    SELECT
      `t0`.`complex_id` AS `known`,
      `t0`.`name` AS `station`,
      `t0`.`borough`,
      `t0`.`latitude`,
      `t0`.`longitude`
    FROM `warehouse`.`dim_station` AS `t0`
  ) AS `t7`
    ON `t39`.`complex_id` = `t7`.`known`
) AS `t40`
