use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

const MESSAGE: &[u8] = b"Subject: x\r\n\r\n.hidden\r\nlast";

/// Starts a session on a server that writes each of `replies` when a command has come in, and the first at once.
/// Returns what was sent to it, and how the conversation ended.
async fn converse(replies: &[&str], login: Option<SmtpLogin>) -> (String, Result<(), SmtpError>) {
    let (ours, mut theirs): (DuplexStream, DuplexStream) = duplex(64 * 1024);
    let client = async {
        let mut session = Session::begin(Box::new(ours), "example.org").await?;
        if session.offers("STARTTLS") {
            return session.start_tls().await.map(drop);
        }
        if let Some(login) = &login {
            session.log_in(login).await?;
        }
        let envelope = Envelope { sender: "a@example.org", recipient: "b@example.net", message: MESSAGE };
        session.send(envelope).await?;
        session.quit().await;
        Ok(())
    };
    let server = async {
        let mut received = String::new();
        for (number, reply) in replies.iter().enumerate() {
            if number > 0 {
                let mut buffer = [0; 4_096];
                let read = theirs.read(&mut buffer).await.expect("the client sends");
                received.push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
            theirs.write_all(reply.as_bytes()).await.expect("the client listens");
        }
        drop(theirs);
        received
    };
    let (result, received) = tokio::join!(client, server);
    (received, result)
}

#[tokio::test]
async fn a_mail_is_sent() {
    let login = SmtpLogin { user: "user".to_owned(), password: "pass".to_owned() };
    let replies = [
        "220-one\r\n220 two\r\n",
        "250-mail.example\r\n250-SIZE 1000\r\n250 AUTH LOGIN PLAIN\r\n",
        "235 in\r\n",
        "250 ok\r\n",
        "250 ok\r\n",
        "354 go on\r\n",
        "250 queued\r\n",
        "221 bye\r\n",
    ];
    let (received, result) = converse(&replies, Some(login)).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(
        received,
        "EHLO example.org\r\nAUTH PLAIN AHVzZXIAcGFzcw==\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\n\
         DATA\r\nSubject: x\r\n\r\n..hidden\r\nlast\r\n.\r\nQUIT\r\n"
    );
}

#[tokio::test]
async fn refusals_of_a_mail_differ_from_those_of_the_program() {
    let greeting = ["220 x\r\n", "250 x\r\n"];
    for (replies, is_permanent) in [
        (vec!["554 no service\r\n"], false),
        (vec!["220 x\r\n", "500 what\r\n", "550 no\r\n"], false),
        ([&greeting[..], &["450 later\r\n"]].concat(), false),
        ([&greeting[..], &["550 you are not the sender\r\n"]].concat(), false),
        ([&greeting[..], &["250 x\r\n", "530 log in first\r\n"]].concat(), false),
        ([&greeting[..], &["250 x\r\n", "550 no such user\r\n"]].concat(), true),
        ([&greeting[..], &["250 x\r\n", "251 x\r\n", "354 x\r\n", "451 later\r\n"]].concat(), false),
        ([&greeting[..], &["250 x\r\n", "250 x\r\n", "354 x\r\n", "554 spam\r\n"]].concat(), true),
        ([&greeting[..], &["250 x\r\n", "250 x\r\n", "354 x\r\n"]].concat(), false),
        (vec!["HTTP/1.1 400 Bad Request\r\n"], false),
        (vec!["220"], false),
    ] {
        let (_, result) = converse(&replies, None).await;
        let error = result.expect_err("the mail is not accepted");
        assert_eq!(error.is_permanent(), is_permanent, "{replies:?}: {error}");
    }
}

#[tokio::test]
async fn what_follows_starttls_in_the_clear_is_not_trusted() {
    for (reply, is_trusted) in [("220 go\r\n", true), ("220 go\r\n250 AUTH PLAIN\r\n", false)] {
        let (_, result) = converse(&["220 x\r\n", "250-x\r\n250 STARTTLS\r\n", reply], None).await;
        assert_eq!(result.is_ok(), is_trusted, "{reply}");
    }
}

#[tokio::test]
async fn replies_without_end_are_not_read() {
    let long = format!("220 {}", "x".repeat(2_000));
    let many = "220-x\r\n".repeat(200);
    for reply in [&*long, &*many] {
        let (_, result) = converse(&[reply], None).await;
        assert!(matches!(result, Err(SmtpError::NotSmtp)), "{result:?}");
    }
}

#[tokio::test]
async fn a_password_needs_a_way_to_be_sent() {
    let login = SmtpLogin { user: "user".to_owned(), password: "pass".to_owned() };
    let (_, result) = converse(&["220 x\r\n", "250-x\r\n250 AUTH XOAUTH2\r\n"], Some(login)).await;
    assert!(matches!(result, Err(SmtpError::NoLogin)), "{result:?}");
}
