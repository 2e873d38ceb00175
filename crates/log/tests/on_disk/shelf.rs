//! The shelf, and the log before it.

use heartwire_log::store::{Batch, DiskPlace, Record, Recovered, RecoveredTopic, SegmentId};
use heartwire_log::{
    Append, AppendError, Appended, Committed, Entry, Load, Log, LogConfig, Now, Place, Policy,
    ProducerId, ProducerKey, Retention, TopicId,
};
use heartwire_proto::frame::{Durability, Message};
use heartwire_proto::id::TopicRef;
use heartwire_proto::{LogId, Offset, Seq, Time, WallTime};

pub(crate) const PER_SEGMENT: usize = 4;

/// Everything ever written.
pub(crate) struct Shelf {
    /// How many messages a segment takes.
    pub per_segment: usize,
    pub written: Vec<Entry>,
    pub numbers: Vec<(ProducerId, Seq)>,
    /// What was named as lost.
    pub lost: Vec<Offset>,
}

impl Default for Shelf {
    fn default() -> Self {
        Self {
            per_segment: PER_SEGMENT,
            written: Vec::new(),
            numbers: Vec::new(),
            lost: Vec::new(),
        }
    }
}

impl Shelf {
    /// How large a segment is said to be, in bytes: twice of what its messages take.
    pub(crate) const fn segment_bytes(&self) -> u64 {
        self.per_segment as u64 * 200
    }

    pub(crate) fn place(&self) -> DiskPlace {
        let number = self.written.len();
        DiskPlace {
            segment: SegmentId((number / self.per_segment) as u32 + 1),
            position: (number % self.per_segment) as u32,
            bytes: 100,
        }
    }

    pub(crate) fn write(&mut self, batch: &Batch) -> Vec<DiskPlace> {
        let mut places = Vec::new();
        for record in &batch.records {
            match record {
                Record::Message { entry, .. } | Record::Moved { entry, .. } => {
                    places.push(self.place());
                    self.written.push(entry.clone());
                }
                Record::Number { producer, seq } => self.numbers.push((*producer, *seq)),
                Record::Lost { offset, .. } => self.lost.push(*offset),
                Record::Epoch { .. } => {}
            }
        }
        places
    }

    pub(crate) fn entry(&self, place: DiskPlace) -> Entry {
        let number = (place.segment.0 as usize - 1) * self.per_segment + place.position as usize;
        self.written[number].clone()
    }
}

/// What a disk held, with these topics and producers in it.
pub(crate) fn found(
    topics: Vec<RecoveredTopic>,
    producers: Vec<(ProducerId, Seq, Time)>,
) -> Recovered {
    Recovered {
        log: LogId::from_random(1),
        key: ProducerKey::new(1),
        log_time: Time::from_millis(1_000),
        topics,
        producers,
        segments: Vec::new(),
        report: Default::default(),
    }
}

pub(crate) struct World {
    pub log: Log,
    pub shelf: Shelf,
    pub millis: u64,
}

impl World {
    pub(crate) fn new(change: impl FnOnce(&mut LogConfig)) -> Self {
        let mut config = LogConfig {
            policies: vec![(
                "memory:*".parse().unwrap(),
                Policy {
                    durability: Durability::Memory,
                    ..Policy::default()
                },
            )],
            ..LogConfig::default()
        };
        change(&mut config);
        let (mut log, _) = Log::recover(config, found(Vec::new(), Vec::new()));
        log.set_room(1 << 20, false);
        Self {
            log,
            shelf: Shelf::default(),
            millis: 1_000,
        }
    }

    pub(crate) fn append(&mut self, topic: &str, text: &str) -> Result<Place, AppendError> {
        self.append_as(topic, text, None)
    }

    pub(crate) fn append_as(
        &mut self,
        topic: &str,
        text: &str,
        producer: Option<(ProducerId, Seq)>,
    ) -> Result<Place, AppendError> {
        self.millis += 1;
        let append = Append {
            topic: TopicRef::parse(topic).unwrap(),
            payload: Message::Text(text),
            from: None,
            producer,
        };
        let now = Now {
            time: Time::from_millis(self.millis),
            wall: WallTime::from_unix_millis(self.millis),
            random: self.millis,
        };
        match self.log.append(append, now)? {
            Appended::Pending(place) => Ok(place),
            Appended::Repeated => panic!("nothing here repeats itself"),
        }
    }

    /// Writes one batch, and commits it. Returns the topics whose end moved.
    pub(crate) fn write(&mut self) -> Vec<TopicId> {
        let mut batch = Batch::default();
        let mut committed = Committed::default();
        if self.log.take_batch(&mut batch) {
            let places = self.shelf.write(&batch);
            self.log.commit(batch.through, &places, &mut committed);
        }
        committed.topics
    }

    pub(crate) fn publish(&mut self, topic: &str, texts: impl IntoIterator<Item = u32>) -> TopicId {
        for text in texts {
            self.append(topic, &text.to_string()).unwrap();
            self.write();
        }
        self.log.find(TopicRef::parse(topic).unwrap()).unwrap()
    }

    pub(crate) fn cool(&mut self) {
        let age = self.log.config().hot_age_max;
        self.millis += u64::try_from(age.as_millis()).unwrap();
        self.expire();
    }

    /// Forgets what is due.
    pub(crate) fn expire(&mut self) {
        let now = Time::from_millis(self.millis);
        while self.log.expire(now, 100, |_| true) {}
    }

    /// What can be read at once after `offset`, and whether more is cold.
    pub(crate) fn read(&mut self, topic: TopicId, offset: u64) -> (Vec<String>, bool) {
        let mut texts = Vec::new();
        let read = self.log.read(topic, Offset(offset), |_, entry| {
            texts.push(entry.map_or("lost".to_owned(), text));
            true
        });
        (texts, read.unwrap().is_cold)
    }

    pub(crate) fn loads(&mut self) -> Vec<Load> {
        let (mut loads, mut warm) = (Vec::new(), Vec::new());
        self.log.take_loads(&mut loads, &mut warm);
        assert_eq!(warm, []);
        loads
    }

    pub(crate) fn bring(&mut self, load: &Load) {
        let read = |place: &DiskPlace| (!place.is_lost()).then(|| self.shelf.entry(*place));
        let messages = load.places.iter().map(read).collect();
        self.log.loaded(load, messages);
    }
}

pub(crate) fn text(entry: &Entry) -> String {
    String::from_utf8(entry.payload().as_bytes().to_vec()).unwrap()
}

pub(crate) fn texts(range: impl IntoIterator<Item = u32>) -> Vec<String> {
    range.into_iter().map(|n| n.to_string()).collect()
}

/// Ten old messages, each in a segment that holds nothing else, and the topic they are of.
pub(crate) fn sparse() -> (World, TopicId) {
    let mut world = churning();
    let old = world.add_sparse("old");
    (world, old)
}

/// An empty log that keeps but the newest message of the topic `churn`.
pub(crate) fn churning() -> World {
    let newest_only = Policy {
        retention: Retention {
            count_max: 1,
            ..Retention::default()
        },
        ..Policy::default()
    };
    World::new(|config| {
        config
            .policies
            .push(("churn".parse().unwrap(), newest_only));
    })
}

impl World {
    /// Ten messages of a topic, each in a segment that holds nothing else.
    pub(crate) fn add_sparse(&mut self, topic: &str) -> TopicId {
        for n in 1..=10 {
            self.publish(topic, [n]);
            self.publish("churn", [n, n, n]);
        }
        self.log.find(TopicRef::parse(topic).unwrap()).unwrap()
    }

    /// What a sweep wants read when a second has passed.
    pub(crate) fn sweep(&mut self) -> Vec<Load> {
        let mut loads = Vec::new();
        self.log
            .sweep(self.shelf.segment_bytes(), 1_000, &mut loads);
        loads
    }

    /// What it wants read besides, when what it wanted before has been moved.
    pub(crate) fn go_on_sweeping(&mut self) -> Vec<Load> {
        let mut loads = Vec::new();
        self.log.go_on_sweeping(1_000, &mut loads);
        loads
    }

    /// The segments that have become unused since they were asked for.
    pub(crate) fn unused(&mut self) -> Vec<SegmentId> {
        let mut unused = Vec::new();
        self.log.take_unused(&mut unused);
        unused
    }
}
