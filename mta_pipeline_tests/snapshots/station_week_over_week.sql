WITH `t5` AS (
  SELECT
    `t4`.`complex_id`,
    `t4`.`week`,
    IF(
      (
        SUM(`t4`.`ok_seconds`) = 0
      ) AND (
        SUM(`t4`.`entries`) = 0
      ),
      NULL,
      SUM(`t4`.`entries`)
    ) AS `entries`,
    IF(SUM(`t4`.`ok_seconds`) = 0, NULL, SUM(`t4`.`exits`)) AS `exits`,
    SUM(`t4`.`turnstile_seconds`) AS `turnstile_seconds`,
    SUM(`t4`.`ok_seconds`) AS `ok_seconds`
  FROM (
    SELECT
      *
    FROM `lake`.`complex_daily` AS `t1`
    WHERE
      `t1`.`complex_id` IS NOT NULL
  ) AS `t4`
  GROUP BY
    1,
    2
)
SELECT
  `t19`.`complex_id`,
  COALESCE(`t19`.`station`, CONCAT('Complex ', CAST(`t19`.`complex_id` AS STRING))) AS `name`,
  `t19`.`borough`,
  `t19`.`week`,
  `t19`.`entries`,
  `t19`.`exits`,
  `t19`.`coverage`,
  `t19`.`entries_week_before`,
  `t19`.`entries_change_week_before`,
  `t19`.`entries_year_before`,
  `t19`.`entries_change_year_before`,
  `t19`.`exits_week_before`,
  `t19`.`exits_change_week_before`,
  `t19`.`exits_year_before`,
  `t19`.`exits_change_year_before`,
  `t19`.`turnstile_days`,
  `t19`.`turnstile_days_week_before`,
  `t19`.`turnstile_days_year_before`
FROM (
  SELECT
    `t18`.`complex_id`,
    `t18`.`week`,
    `t18`.`entries`,
    `t18`.`exits`,
    `t18`.`turnstile_seconds`,
    `t18`.`ok_seconds`,
    `t18`.`coverage`,
    `t18`.`turnstile_days`,
    `t18`.`id_week_before`,
    `t18`.`is_week_before`,
    `t18`.`entries_week_before`,
    `t18`.`exits_week_before`,
    `t18`.`turnstile_days_week_before`,
    `t18`.`entries_change_week_before`,
    `t18`.`exits_change_week_before`,
    `t18`.`id_year_before`,
    `t18`.`is_year_before`,
    `t18`.`entries_year_before`,
    `t18`.`exits_year_before`,
    `t18`.`turnstile_days_year_before`,
    `t18`.`entries_change_year_before`,
    `t18`.`exits_change_year_before`,
    `t3`.`known`,
    `t3`.`station`,
    `t3`.`borough`,
    `t3`.`latitude`,
    `t3`.`longitude`
  FROM (
    SELECT
      `t16`.`complex_id`,
      `t16`.`week`,
      `t16`.`entries`,
      `t16`.`exits`,
      `t16`.`turnstile_seconds`,
      `t16`.`ok_seconds`,
      `t16`.`coverage`,
      `t16`.`turnstile_days`,
      `t16`.`id_week_before`,
      `t16`.`is_week_before`,
      `t16`.`entries_week_before`,
      `t16`.`exits_week_before`,
      `t16`.`turnstile_days_week_before`,
      `t16`.`entries_change_week_before`,
      `t16`.`exits_change_week_before`,
      `t16`.`id_year_before`,
      `t16`.`is_year_before`,
      `t16`.`entries_year_before`,
      `t16`.`exits_year_before`,
      `t16`.`turnstile_days_year_before`,
      ieee_divide(
        `t16`.`entries` - `t16`.`entries_year_before`,
        NULLIF(`t16`.`entries_year_before`, 0)
      ) AS `entries_change_year_before`,
      ieee_divide(`t16`.`exits` - `t16`.`exits_year_before`, NULLIF(`t16`.`exits_year_before`, 0)) AS `exits_change_year_before`
    FROM (
      SELECT
        `t15`.`complex_id`,
        `t15`.`week`,
        `t15`.`entries`,
        `t15`.`exits`,
        `t15`.`turnstile_seconds`,
        `t15`.`ok_seconds`,
        `t15`.`coverage`,
        `t15`.`turnstile_days`,
        `t15`.`id_week_before`,
        `t15`.`is_week_before`,
        `t15`.`entries_week_before`,
        `t15`.`exits_week_before`,
        `t15`.`turnstile_days_week_before`,
        `t15`.`entries_change_week_before`,
        `t15`.`exits_change_week_before`,
        `t9`.`id_year_before`,
        `t9`.`is_year_before`,
        `t9`.`entries_year_before`,
        `t9`.`exits_year_before`,
        `t9`.`turnstile_days_year_before`
      FROM (
        SELECT
          `t13`.`complex_id`,
          `t13`.`week`,
          `t13`.`entries`,
          `t13`.`exits`,
          `t13`.`turnstile_seconds`,
          `t13`.`ok_seconds`,
          `t13`.`coverage`,
          `t13`.`turnstile_days`,
          `t13`.`id_week_before`,
          `t13`.`is_week_before`,
          `t13`.`entries_week_before`,
          `t13`.`exits_week_before`,
          `t13`.`turnstile_days_week_before`,
          ieee_divide(
            `t13`.`entries` - `t13`.`entries_week_before`,
            NULLIF(`t13`.`entries_week_before`, 0)
          ) AS `entries_change_week_before`,
          ieee_divide(`t13`.`exits` - `t13`.`exits_week_before`, NULLIF(`t13`.`exits_week_before`, 0)) AS `exits_change_week_before`
        FROM (
          SELECT
            `t12`.`complex_id`,
            `t12`.`week`,
            `t12`.`entries`,
            `t12`.`exits`,
            `t12`.`turnstile_seconds`,
            `t12`.`ok_seconds`,
            `t12`.`coverage`,
            `t12`.`turnstile_days`,
            `t10`.`id_week_before`,
            `t10`.`is_week_before`,
            `t10`.`entries_week_before`,
            `t10`.`exits_week_before`,
            `t10`.`turnstile_days_week_before`
          FROM (
            SELECT
              `t6`.`complex_id`,
              `t6`.`week`,
              `t6`.`entries`,
              `t6`.`exits`,
              `t6`.`turnstile_seconds`,
              `t6`.`ok_seconds`,
              ieee_divide(COALESCE(`t6`.`ok_seconds`, 0), NULLIF(`t6`.`turnstile_seconds`, 0)) AS `coverage`,
              ieee_divide(`t6`.`turnstile_seconds`, 86400) AS `turnstile_days`
            FROM `t5` AS `t6`
          ) AS `t12`
          LEFT OUTER JOIN (
            SELECT
              `t6`.`complex_id` AS `id_week_before`,
              DATE_ADD(`t6`.`week`, INTERVAL '7' DAY) AS `is_week_before`,
              `t6`.`entries` AS `entries_week_before`,
              `t6`.`exits` AS `exits_week_before`,
              ieee_divide(`t6`.`turnstile_seconds`, 86400) AS `turnstile_days_week_before`
            FROM `t5` AS `t6`
          ) AS `t10`
            ON `t12`.`complex_id` = `t10`.`id_week_before`
            AND `t12`.`week` = `t10`.`is_week_before`
        ) AS `t13`
      ) AS `t15`
      LEFT OUTER JOIN (
        SELECT
          `t6`.`complex_id` AS `id_year_before`,
          DATE_ADD(`t6`.`week`, INTERVAL '364' DAY) AS `is_year_before`,
          `t6`.`entries` AS `entries_year_before`,
          `t6`.`exits` AS `exits_year_before`,
          ieee_divide(`t6`.`turnstile_seconds`, 86400) AS `turnstile_days_year_before`
        FROM `t5` AS `t6`
      ) AS `t9`
        ON `t15`.`complex_id` = `t9`.`id_year_before`
        AND `t15`.`week` = `t9`.`is_year_before`
    ) AS `t16`
  ) AS `t18`
  LEFT OUTER JOIN (
    SELECT
      `t0`.`complex_id` AS `known`,
      `t0`.`name` AS `station`,
      `t0`.`borough`,
      `t0`.`latitude`,
      `t0`.`longitude`
    FROM `warehouse`.`dim_station` AS `t0`
  ) AS `t3`
    ON `t18`.`complex_id` = `t3`.`known`
) AS `t19`
