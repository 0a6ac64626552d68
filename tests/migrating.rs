//! A database that an earlier version left behind.

use rusqlite::Connection;
use std::path::PathBuf;

fn migrations() -> std::io::Result<Vec<String>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir("migrations")?
        .map(|file| file.map(|f| f.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|p| p.extension().is_some_and(|e| e == "sql"));
    files.sort();
    files.iter().map(std::fs::read_to_string).collect()
}

#[test]
fn events_of_the_first_version_are_there_after_every_migration() {
    let database = Connection::open_in_memory().unwrap();
    let files = migrations().unwrap();
    let (first, later) = files.split_at(3);
    for file in first {
        database.execute_batch(file).unwrap();
    }
    database
        .execute_batch(
            "INSERT INTO event (id, source, delivery_id, service, type, received_at, trace_id, headers, state, due_at, tries,
               size, payload)
             VALUES ('evt_1', 'app:github', 'd-1', 'github', 'github.ping', 1, 't', '{}', 'pending', 2, 0, 2, '{}'),
                    ('evt_2', 'app:github', 'd-2', 'github', 'github.ping', 3, 't', '{}', 'dispatched', 4, 1, 2, x'ff00')",
        )
        .unwrap();

    for file in later {
        database.execute_batch(file).unwrap();
    }

    let whole = "SELECT group_concat(id || delivery_id || state || due_at || hold || coalesce(replay, '-') || hex(payload), ' ')
      FROM (SELECT * FROM event ORDER BY id)";
    let found: String = database.query_row(whole, [], |row| row.get(0)).unwrap();
    assert_eq!(found, "evt_1d-1pending20-7B7D evt_2d-2dispatched40-FF00");
    let twice = "INSERT INTO event (id, source, delivery_id, service, type, received_at, trace_id, headers, state, due_at, tries, size)
      VALUES ('evt_3', 'app:github', 'd-1', 'github', 'github.ping', 1, 't', '{}', 'pending', 2, 0, 2)";
    assert!(database.execute(twice, []).is_err(), "a delivery is known by its id");
}

#[test]
fn the_last_migration_names_the_version_that_the_program_wants() {
    let database = Connection::open_in_memory().unwrap();
    for file in &migrations().unwrap() {
        database.execute_batch(file).unwrap();
    }

    let sql = "SELECT value FROM meta WHERE key = 'schema_version'";
    let version: String = database.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(version, patchbay::store::SCHEMA_VERSION);
}
