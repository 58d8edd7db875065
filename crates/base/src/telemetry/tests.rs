use super::*;

/// The only test that may set up logging for the whole test process.
#[test]
fn levels_change_while_the_process_runs() {
    let folder = std::env::temp_dir().join(format!("plexus-telemetry-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("writable");
    let (config, log) = (folder.join("log.config"), folder.join("log"));
    let write_config = |level: &str| {
        let text = format!(
            "root: {{level: WARNING, handlers: [f]}}\nloggers: {{plexus_base.telemetry: {{level: {level}}}}}\n\
             handlers: {{f: {{class: logging.FileHandler, filename: {:?}}}, n: {{class: x}}}}\n",
            log.to_string_lossy()
        );
        std::fs::write(&config, text).expect("writable");
    };
    write_config("INFO");
    let (telemetry, ignored) = start(Some(&config), &Clock::system()).expect("starts");
    assert!(ignored.is_empty(), "{ignored:?}");
    tracing::debug!("before");
    tracing::info!("said");
    write_config("DEBUG");
    telemetry.reload().expect("valid");
    tracing::debug!("after");
    let text = std::fs::read_to_string(&log).expect("readable");
    assert!(!text.contains("before"), "{text}");
    assert!(text.contains("said") && text.contains("after"), "{text}");
    write_config("LOUD");
    telemetry.reload().expect_err("no such level");
    tracing::debug!("still");
    let text = std::fs::read_to_string(&log).expect("readable");
    assert!(text.contains("still"), "{text}");
    start(None, &Clock::system()).expect_err("set up already");
    std::fs::remove_dir_all(folder).expect("removable");
}
