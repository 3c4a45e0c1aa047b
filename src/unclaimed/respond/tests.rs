//! Tests the response as text and as a page, and which requests get it.

use super::*;

mod page {
    use super::*;

    fn reason(summary: &str, details: &str) -> Reason {
        Reason {
            summary: summary.into(),
            details: vec![details.into()],
        }
    }

    #[test]
    fn markup_is_escaped() {
        let evil = "</pre><script>alert(1)</script>\" onload='x' &amp; \u{1b}[31m\r\0";
        let (html, _) = page(&reason(evil, evil));
        let shown =
            "&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;&quot; onload=&#39;x&#39; &amp;amp; ";
        assert_eq!(
            html.matches(shown).count(),
            3,
            "title, heading and text: {html}"
        );
        assert_eq!(
            html.matches("<script").count(),
            1,
            "the page has only its own script"
        );
        assert_eq!(
            html.matches("</pre>").count(),
            1,
            "the text closes no element"
        );
        let controls = html.chars().filter(|c| c.is_control() && *c != '\n');
        assert_eq!(controls.count(), 0);
    }

    #[test]
    fn line_breaks_are_kept() {
        let (html, _) = page(&reason("it", "one\n\ttwo\n"));
        assert!(html.contains("<pre>one\n\ttwo</pre>"), "{html}");
    }

    #[test]
    fn the_page_can_run_only_its_own_script() {
        let (html, policy) = page(&reason("a", "b"));
        let (_, other) = page(&reason("a", "b"));
        assert_ne!(policy, other, "each page has its own nonce");
        let nonce = policy.split("'nonce-").nth(1).unwrap();
        let nonce = nonce.split('\'').next().unwrap();
        assert_eq!(nonce.len(), 32);
        assert_eq!(
            html.matches(nonce).count(),
            2,
            "the style and the script have the nonce"
        );
    }

    #[test]
    fn the_script_compares_the_reason_header_with_the_mark_of_the_page() {
        assert!(SCRIPT.contains(MARK));
        let reason = reason("a", "b");
        let mark = format!("data-mark=\"{}\"", reason.mark());
        assert!(page(&reason).0.contains(&mark));
    }
}

mod request {
    use super::*;

    const TEXT: HttpRequest = HttpRequest::Http {
        page: false,
        body: true,
        local: true,
    };
    const PAGE: HttpRequest = HttpRequest::Http {
        page: true,
        body: true,
        local: true,
    };
    const REMOTE: HttpRequest = HttpRequest::Http {
        page: false,
        body: true,
        local: false,
    };

    fn parse(text: &str) -> HttpRequest {
        HttpRequest::parse(text.as_bytes(), false)
    }

    #[test]
    fn the_accept_header_decides_between_page_and_text() {
        assert_eq!(parse("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), TEXT);
        let bare = "GET / HTTP/1.1\nHost: localhost\nAccept: */*\n\n";
        assert_eq!(parse(bare), TEXT);
        let browser = "POST /a?b HTTP/1.1\r\nHost: localhost\r\naCCept: Text/HTML,application/xml;q=0.9\r\n\r\nbody";
        assert_eq!(parse(browser), PAGE);
        let head = "HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        assert_eq!(
            parse(head),
            HttpRequest::Http {
                page: false,
                body: false,
                local: true
            }
        );
    }

    #[test]
    fn a_request_is_local_if_its_host_header_names_this_machine() {
        let with_host = |host: &str| parse(&format!("GET / HTTP/1.1\r\nhOST: {host}\r\n\r\n"));
        for local in [
            "localhost",
            "localhost:3000",
            "LOCALHOST.",
            "app.localhost:80",
            "127.0.0.1",
            "127.1.2.3:3000",
            "[::1]",
            "[::1]:3000",
            "[::ffff:127.0.0.1]:3000",
            "0.0.0.0:3000",
            "[::]:3000",
            "::1",
        ] {
            assert_eq!(with_host(local), TEXT, "{local}");
        }
        for other in [
            "",
            "attacker.example",
            "attacker.example:3000",
            "localhost.attacker.example",
            "notlocalhost",
            "10.0.0.1",
            "[2001:db8::1]:3000",
            "127.0.0.1.attacker.example",
            "localhost, attacker.example",
            "localhost:3000, attacker.example",
            "]::1[",
        ] {
            assert_eq!(with_host(other), REMOTE, "{other}");
        }
    }

    #[test]
    fn a_request_is_local_only_if_nothing_in_it_names_another_host_or_a_proxy() {
        for (expected, target, headers) in [
            (TEXT, "/a://b", "Host: localhost"),
            (TEXT, "*", "Host: localhost"),
            (TEXT, "http://localhost:3000/a", "Host: localhost:3000"),
            (TEXT, "http://[::1]?a", "Host: localhost"),
            (REMOTE, "/", "Accept: */*"),
            (REMOTE, "/", "Host: localhost\r\nHost: localhost"),
            (REMOTE, "/", "Host: localhost\r\nHost: attacker.example"),
            (REMOTE, "http://attacker.example/", "Host: localhost"),
            (REMOTE, "http://localhost/", "Host: attacker.example"),
            (REMOTE, "http://localhost/", "Accept: */*"),
            (
                REMOTE,
                "http://localhost@attacker.example/",
                "Host: localhost",
            ),
            (REMOTE, "localhost:3000", "Host: localhost"),
            (REMOTE, "/", "Host: localhost\r\nVia: 1.1 proxy"),
            (REMOTE, "/", "Host: localhost\r\nFORWARDED: for=127.0.0.1"),
            (REMOTE, "/", "Host: localhost\r\nX-Forwarded-For: 127.0.0.1"),
            (REMOTE, "/", "Host: localhost\r\nX-Forwarded-Proto: https"),
            (REMOTE, "/", "Host: localhost\r\nX-Real-IP: 203.0.113.7"),
        ] {
            let request = format!("GET {target} HTTP/1.1\r\n{headers}\r\n\r\n");
            assert_eq!(parse(&request), expected, "{request}");
        }
        assert_eq!(parse("GET / HTTP/1.0\r\n\r\n"), REMOTE);
    }

    #[test]
    fn only_clients_on_this_machine_may_see_the_reason() {
        let may = |peer: &str, local| may_see_reason(Ok(peer.parse().unwrap()), local);
        for peer in [
            "127.0.0.1:1",
            "127.9.9.9:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(may(peer, true), "{peer}");
            assert!(!may(peer, false), "{peer}");
        }
        for peer in [
            "192.168.0.9:1",
            "0.0.0.0:1",
            "[fe80::1]:1",
            "[::ffff:10.0.0.1]:1",
        ] {
            assert!(!may(peer, true), "{peer}");
        }
        assert!(!may_see_reason(
            Err(io::ErrorKind::NotConnected.into()),
            true
        ));
    }

    #[test]
    fn a_partial_request_is_incomplete_only_while_more_bytes_may_follow() {
        let whole = "OPTIONS * HTTP/1.1\r\nAccept: text/html\r\n\r\n";
        for end in 0..whole.len() {
            let part = &whole.as_bytes()[..end];
            assert_eq!(
                HttpRequest::parse(part, false),
                HttpRequest::Incomplete,
                "{end}"
            );
            let has_line = end >= "OPTIONS * HTTP/1.1".len();
            let expected = if has_line {
                REMOTE
            } else {
                HttpRequest::OtherProtocol
            };
            assert_eq!(HttpRequest::parse(part, true), expected, "{end}");
        }
    }

    #[test]
    fn a_request_line_is_enough_to_recognize_http_whatever_follows() {
        assert_eq!(parse("GET / HTTP/1.1\r\nno header\r\n\r\n"), REMOTE);
        let many = "A: b\r\n".repeat(MOST_HEADERS + 1);
        assert_eq!(parse(&format!("GET / HTTP/1.1\r\n{many}\r\n")), REMOTE);
    }

    #[test]
    fn other_protocols_are_recognized_by_their_first_bytes() {
        let others: [&[u8]; 11] = [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"PING\r\n",
            b"EHLO localhost\r\n",
            b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
            b"\x10\x0c\x00\x04MQTT",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
            b"GET /\r\n",
            b"\xff\xfe\xfd",
        ];
        for other in others {
            let text = String::from_utf8_lossy(other);
            assert_eq!(
                HttpRequest::parse(other, false),
                HttpRequest::OtherProtocol,
                "{text}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_can_be_parsed(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300), last: bool) {
            let parsed = HttpRequest::parse(&bytes, last);
            proptest::prop_assert!(!last || parsed != HttpRequest::Incomplete);
        }
    }
}

mod response {
    use super::*;

    fn reason() -> Reason {
        Reason {
            summary: "gen 2 failed to build".into(),
            details: vec!["error: ä <b>\n".into(), "error: two".into()],
        }
    }

    fn parts(response: &[u8]) -> (&str, &str) {
        let text = std::str::from_utf8(response).unwrap();
        text.split_once("\r\n\r\n").unwrap()
    }

    fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
        let prefix = format!("{name}: ");
        head.lines().find_map(|line| line.strip_prefix(&*prefix))
    }

    #[test]
    fn the_response_is_valid_http() {
        for (page, kind) in [(false, "text/plain"), (true, "text/html")] {
            let whole = super::super::response(&reason(), page, true);
            let mut headers = [httparse::EMPTY_HEADER; 32];
            let mut parsed = httparse::Response::new(&mut headers);
            assert!(parsed.parse(&whole).unwrap().is_complete());
            assert_eq!(parsed.code, Some(503));
            let (head, body) = parts(&whole);
            assert_eq!(header(head, "Retry-After"), Some("1"));
            assert_eq!(header(head, "Connection"), Some("close"));
            let expected = format!("{kind}; charset=utf-8");
            assert_eq!(header(head, "Content-Type"), Some(&*expected));
            let length = body.len().to_string();
            assert_eq!(header(head, "Content-Length"), Some(&*length));
            let head_only = super::super::response(&reason(), page, false);
            let (head, nothing) = parts(&head_only);
            assert_eq!(nothing, "");
            assert!(header(head, "Content-Length").is_some());
        }
    }

    #[test]
    fn the_plain_text_response_contains_the_summary_and_the_details() {
        let response = super::super::response(&reason(), false, true);
        let expected = "503: no server is running: gen 2 failed to build\n\nerror: ä <b>\n\nerror: two\n\n\
                        Save a change to retry.\n";
        assert_eq!(parts(&response).1, expected);
    }

    #[test]
    fn different_reasons_have_different_marks() {
        let mark = |reason: &Reason| {
            let response = super::super::response(reason, true, false);
            header(parts(&response).0, MARK).unwrap().to_owned()
        };
        let mut other = reason();
        assert_eq!(mark(&other), mark(&reason()));
        other.details.pop();
        assert_ne!(mark(&other), mark(&reason()));
    }
}
