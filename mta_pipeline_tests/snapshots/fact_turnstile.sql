SELECT
  `t0`.`week`,
  `t0`.`control_area`,
  `t0`.`unit`,
  `t0`.`scp`,
  `t0`.`division`,
  `t0`.`complex_id`,
  COALESCE(
    `t0`.`division` IN ('BMT', 'IRT', 'IND') AND (
      `t0`.`control_area` <> 'OB01'
    ),
    FALSE
  ) AS `is_subway`,
  `t0`.`started_at`,
  `t0`.`ended_at`,
  `t0`.`service_date`,
  IF(
    (
      DATETIME_DIFF(`t0`.`ended_at`, `t0`.`started_at`, SECOND) - (
        COALESCE(`t0`.`ended_utc_offset` - `t0`.`started_utc_offset`, 0) * 3600
      )
    ) < 0,
    0,
    DATETIME_DIFF(`t0`.`ended_at`, `t0`.`started_at`, SECOND) - (
      COALESCE(`t0`.`ended_utc_offset` - `t0`.`started_utc_offset`, 0) * 3600
    )
  ) AS `seconds`,
  `t0`.`entries`,
  `t0`.`exits`,
  `t0`.`entries_status`,
  `t0`.`exits_status`,
  `t0`.`started_utc_offset`,
  `t0`.`ended_utc_offset`
FROM `lake`.`turnstile_traffic` AS `t0`
