-- What were two switches of a trunk's profile are choices now.
UPDATE trunks SET profile = json_remove(
    json_set(
        profile,
        '$.asserted_identity', iif(json_extract(profile, '$.pass_asserted_identity'), 'pass', 'drop'),
        '$.call_history', iif(json_extract(profile, '$.pass_diversion'), 'diversion', 'drop')
    ),
    '$.pass_asserted_identity', '$.pass_diversion'
);
