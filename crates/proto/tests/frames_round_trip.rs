//! Whatever can be said is read back as it was said, and whatever arrives is parsed or refused.

use std::time::Duration;

use heartwire_proto::close::CloseCode;
use heartwire_proto::frame::{
    ClientFrame, Durability, FreshToken, Gap, GapReason, HeartbeatMillis, Hello, Message, NackCode,
    Publisher, RefusedCode, ServerFrame, SubFrom, Tails, Welcome, WelcomeLimits, encode_publisher,
};
use heartwire_proto::id::NUMBER_MAX;
use heartwire_proto::{
    Attempt, ClientId, Cursor, Epoch, Offset, PingId, Seq, Token, TopicName, WallTime,
};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

const TOPIC: &str = "[A-Za-z0-9_$][A-Za-z0-9_.:@~-]{0,199}";
const SHORT: &str = "[0-9a-z]{1,16}";

fn topic() -> impl Strategy<Value = TopicName> {
    TOPIC.prop_map(|name| name.parse().expect("the pattern is that of names"))
}

fn epoch() -> impl Strategy<Value = Epoch> {
    SHORT.prop_map(|id| id.parse().expect("the pattern is that of epochs"))
}

fn ping_id() -> impl Strategy<Value = Option<PingId>> {
    option::of(SHORT.prop_map(|id| id.parse().expect("the pattern is that of ids")))
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..10_u64, 0..=NUMBER_MAX, Just(NUMBER_MAX)]
}

fn count() -> impl Strategy<Value = u64> {
    number().prop_map(|number| number.max(1))
}

fn cursor() -> impl Strategy<Value = Cursor> {
    let at = (epoch(), number()).prop_map(|(epoch, offset)| Cursor::At {
        epoch,
        offset: Offset(offset),
    });
    prop_oneof![Just(Cursor::Start), at]
}

fn sub_from() -> impl Strategy<Value = SubFrom> {
    prop_oneof![
        Just(SubFrom::Tail),
        Just(SubFrom::Head),
        count().prop_map(SubFrom::Last),
        cursor().prop_map(SubFrom::After),
    ]
}

fn gap() -> impl Strategy<Value = Gap> {
    let reason = select(GapReason::ALL);
    (epoch(), count(), option::of(number()), reason).prop_map(|(epoch, first, more, reason)| {
        let last = more.map(|more| Offset(first.saturating_add(more).min(NUMBER_MAX)));
        Gap {
            epoch,
            first: Offset(first),
            last,
            reason,
        }
    })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![".{0,40}", "(?s).{0,40}", Just(String::new())]
}

fn millis() -> impl Strategy<Value = Duration> {
    number().prop_map(Duration::from_millis)
}

fn client_round_trip(frame: &ClientFrame<'_>) {
    let message = frame.to_payload();
    let parsed = ClientFrame::parse(message.as_message());
    assert_eq!(parsed.as_ref(), Ok(frame), "{message:?}");
}

fn server_round_trip(frame: &ServerFrame<'_>) {
    let message = frame.to_payload();
    let parsed = ServerFrame::parse(message.as_message());
    assert_eq!(parsed.as_ref(), Ok(frame), "{message:?}");
}

fn hello() -> impl Strategy<Value = Hello> {
    let client = "[A-Za-z0-9_-]{16,64}";
    let token = option::of(text());
    let features = proptest::collection::vec(text(), 0..3);
    (
        client,
        number(),
        text(),
        token,
        option::of(number()),
        features,
    )
        .prop_map(
            |(client, attempt, agent, token, heartbeat_interval_ms, features)| Hello {
                client: client
                    .parse::<ClientId>()
                    .expect("the pattern is that of client ids"),
                attempt: Attempt(attempt),
                agent,
                token: token.map(Token::new),
                heartbeat_interval_ms,
                features,
            },
        )
}

fn welcome() -> impl Strategy<Value = Welcome> {
    let topics = proptest::collection::vec(topic(), 0..4);
    let durability = select(vec![
        Durability::Memory,
        Durability::Disk,
        Durability::Quorum,
    ]);
    let heartbeat = (number(), number());
    (
        SHORT,
        SHORT,
        number(),
        any::<bool>(),
        topics,
        heartbeat,
        durability,
        text(),
    )
        .prop_map(
            |(connection, log, acked, producer_known, topics, heartbeat, durability, server)| {
                Welcome {
                    connection: connection.parse().expect("an id"),
                    log: log.parse().expect("an id"),
                    acked: Seq(acked),
                    producer_known,
                    topics,
                    heartbeat: HeartbeatMillis {
                        interval_ms: heartbeat.0,
                        timeout_ms: heartbeat.1,
                    },
                    limits: WelcomeLimits::default(),
                    durability,
                    features: Vec::new(),
                    server,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn client_frames_read_back(
        topic in topic(),
        from in sub_from(),
        seq in count().prop_map(Seq),
        id in ping_id(),
        interval_ms in number(),
    ) {
        let topic = topic.as_topic();
        client_round_trip(&ClientFrame::Sub { topic, from });
        client_round_trip(&ClientFrame::Unsub { topic });
        client_round_trip(&ClientFrame::Skip { seq });
        client_round_trip(&ClientFrame::Heartbeat { interval_ms });
        client_round_trip(&ClientFrame::Ping { id });
        client_round_trip(&ClientFrame::Pong { id });
    }

    #[test]
    fn publishes_read_back(
        topic in topic(),
        seq in count().prop_map(Seq),
        text in text(),
        bytes: Vec<u8>,
    ) {
        let topic = topic.as_topic();
        for payload in [Message::Text(&text), Message::Binary(&bytes)] {
            client_round_trip(&ClientFrame::Pub { topic, seq, payload });
        }
    }

    #[test]
    fn json_frames_read_back(hello in hello(), token in text(), welcome in welcome()) {
        client_round_trip(&ClientFrame::Hello(Box::new(hello)));
        let token = Token::new(token);
        client_round_trip(&ClientFrame::Token(FreshToken { token }));
        server_round_trip(&ServerFrame::Welcome(Box::new(welcome)));
    }

    #[test]
    fn messages_read_back(
        topic in topic(),
        offset in count(),
        prev: u64,
        time in number(),
        from in option::of("[^\\x00]{1,20}"),
        text in text(),
        bytes: Vec<u8>,
    ) {
        let encoded = from.as_deref().and_then(encode_publisher);
        let from = encoded.as_deref().map(Publisher::parse).transpose().expect("it was encoded");
        for payload in [Message::Text(&text), Message::Binary(&bytes)] {
            server_round_trip(&ServerFrame::Msg {
                topic: topic.as_topic(),
                offset: Offset(offset),
                prev: Offset(prev % offset),
                time: WallTime::from_unix_millis(time),
                from,
                payload,
            });
        }
    }

    #[test]
    fn server_frames_about_topics_read_back(
        topic in topic(),
        cursor in cursor(),
        gap in gap(),
        epoch in epoch(),
        code in select(RefusedCode::ALL),
    ) {
        let topic = topic.as_topic();
        server_round_trip(&ServerFrame::Subbed { topic, cursor, gap: None });
        server_round_trip(&ServerFrame::Subbed { topic, cursor, gap: Some(gap) });
        server_round_trip(&ServerFrame::Gap { topic, gap });
        server_round_trip(&ServerFrame::Epoch { topic, epoch });
        server_round_trip(&ServerFrame::Unsubbed { topic });
        server_round_trip(&ServerFrame::Refused { topic, code });
        server_round_trip(&ServerFrame::Ended { topic, code });
    }

    #[test]
    fn other_server_frames_read_back(
        seq in count().prop_map(Seq),
        code in select(NackCode::ALL),
        retry in option::of(millis()),
        id in ping_id(),
        tails in proptest::collection::vec((topic(), cursor()), 0..5),
        close in 1_000..5_000_u16,
        reason in "[ -~]{0,123}",
    ) {
        server_round_trip(&ServerFrame::Ack { seq });
        server_round_trip(&ServerFrame::Nack { seq, code, retry });
        server_round_trip(&ServerFrame::Heartbeat { interval_ms: seq.0 });
        server_round_trip(&ServerFrame::Pong { id });
        let mut lines = String::new();
        for (topic, cursor) in &tails {
            Tails::push(&mut lines, topic.as_topic(), *cursor);
        }
        let tails = Tails::parse(&lines).expect("lines as they are written");
        server_round_trip(&ServerFrame::Ping { id, tails });
        server_round_trip(&ServerFrame::Bye {
            code: CloseCode(close),
            retry: retry.filter(|retry| !retry.is_zero()),
            reason: &reason,
        });
    }

    #[test]
    fn any_reason_can_be_said(reason: String) {
        let code = CloseCode::DRAINING;
        let bye = ServerFrame::Bye { code, retry: None, reason: &reason }.to_payload();
        prop_assert!(bye.len() <= 512);
        let parsed = ServerFrame::parse(bye.as_message());
        let is_bye = matches!(parsed, Ok(ServerFrame::Bye { .. }));
        prop_assert!(is_bye, "{:?}", parsed);
    }

    #[test]
    fn random_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
        parse_everywhere(&bytes);
    }

    #[test]
    fn near_frames_are_parsed_or_refused(
        verb in select(vec![
            "hello", "sub", "unsub", "pub", "skip", "token", "heartbeat", "ping", "pong", "welcome",
            "subbed", "msg", "gap", "epoch", "unsubbed", "refused", "ended", "ack", "nack", "bye",
        ]),
        fields in proptest::collection::vec("[ -~]{0,12}|t|1|e\\.1|0|\\?|retention|last|[0-9]{1,20}", 0..8),
        payload in option::of(any::<Vec<u8>>()),
    ) {
        let mut bytes = verb.as_bytes().to_vec();
        for field in fields {
            bytes.push(b' ');
            bytes.extend_from_slice(field.as_bytes());
        }
        if let Some(payload) = payload {
            bytes.push(b'\n');
            bytes.extend_from_slice(&payload);
        }
        parse_everywhere(&bytes);
    }
}

/// Parses as text, if it is any, and as binary, on both sides; what is refused says why in a close
/// reason's space, and what is parsed reads the same when it is encoded again.
fn parse_everywhere(bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).ok().map(Message::Text);
    for message in text.into_iter().chain([Message::Binary(bytes)]) {
        match ClientFrame::parse(message) {
            Ok(frame) => client_round_trip(&frame),
            Err(error) => assert!(error.to_string().len() <= 123, "{error}"),
        }
        match ServerFrame::parse(message) {
            Ok(frame) => server_round_trip(&frame),
            Err(error) => assert!(error.to_string().len() <= 123, "{error}"),
        }
    }
}
