//! `sslmode` against a PostgreSQL that encrypts.

use std::net::TcpListener;

use plexus_store::{Database, DbError, Options, first};
use plexus_testkit::postgres::{Cluster, USER, cluster};
use serde_json::{Value, json};

fn open(args: &Value) -> Result<Database, String> {
    let args = args.as_object().expect("arguments are an object");
    let options = Options::from_config("psycopg2", args, false, "".as_ref()).map_err(|error| error.to_string())?;
    Database::open(&options).map_err(|error| error.to_string())
}

#[test]
fn sslmode_means_what_libpq_means_by_it() {
    if cluster().is_none() {
        return;
    }
    let identity = rcgen::generate_simple_self_signed(["db.example".to_owned(), "localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    // Nobody else takes the port in the moment between: it was given out last.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings = format!(
        "-c fsync=off -c listen_addresses=127.0.0.1 -c port={port} -c ssl=on \
         -c ssl_cert_file=../server.crt -c ssl_key_file=../server.key"
    );
    let files = [
        ("server.crt", &*identity.cert.pem()),
        ("server.key", &*identity.signing_key.serialize_pem()),
        ("other.crt", &*other.cert.pem()),
    ];
    let cluster = Cluster::start_with(&settings, &files).unwrap();
    let path = |name: &str| cluster.host().join(name);
    let args = |host: &str, mode: &str, root: Option<&str>| {
        json!({ "host": host, "port": port, "user": USER, "dbname": "postgres", "sslmode": mode,
                "sslrootcert": root.map(path), "cp_max": 2 })
    };
    let cases = [
        ("127.0.0.1", "disable", None, Ok(false)),
        ("127.0.0.1", "prefer", None, Ok(true)),
        ("127.0.0.1", "require", None, Ok(true)),
        ("127.0.0.1", "require", Some("other.crt"), Err("certificate")),
        ("127.0.0.1", "verify-ca", Some("server.crt"), Ok(true)),
        ("127.0.0.1", "verify-full", Some("server.crt"), Err("certificate")),
        ("localhost", "verify-full", Some("server.crt"), Ok(true)),
        ("localhost", "verify-full", None, Err("sslrootcert")),
        ("localhost", "sometimes", None, Err("database.args.sslmode")),
    ];
    for (host, mode, root, expected) in cases {
        let case = format!("{host} {mode} {root:?}");
        match (open(&args(host, mode, root)), expected) {
            (Ok(db), Ok(encrypted)) => {
                let found = db.read_blocking(|tx| {
                    tx.query_one("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[], first::<bool>)
                });
                assert_eq!(found.map_err(|error: DbError| error.to_string()), Ok(encrypted), "{case}");
                db.close_blocking();
            }
            (Err(error), Err(part)) => assert!(error.contains(part), "{case}: {error}"),
            (Ok(_), Err(_)) => panic!("{case}: connected"),
            (Err(error), Ok(_)) => panic!("{case}: {error}"),
        }
    }
}
