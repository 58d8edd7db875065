use super::*;

#[test]
fn names_round_trip() {
    for version in RoomVersion::ALL {
        assert_eq!(version.as_str().parse(), Ok(version));
        assert_eq!(version.rules().version, version);
    }
    for name in ["", "0", "13", "01", "org.matrix.msc2176"] {
        assert!(name.parse::<RoomVersion>().is_err(), "{name}");
    }
}
