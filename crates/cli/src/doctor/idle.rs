//! What the silence has shown: who cuts, after how long, and who notices.

use std::time::Duration;

use super::report::{Check, Verdict, millis, shown};
use super::silence::{BusyEnd, Idle, Seen};
use super::socket::End;

const NAME: &str = "idle";

/// How far the ages of two connections may differ that were cut for their age, at least.
const SAME_AGE: Duration = Duration::from_secs(1);

/// What was found.
enum Finding<'a> {
    /// Connections end at this age, whatever they do.
    Age(&'a BusyEnd),
    /// Silent ones are ended after that much silence, for all to see.
    IdleCut { quiet: Duration, end: &'a End },
    /// Silent ones die without a sign, between these two.
    IdleDead {
        alive: Duration,
        dead: Duration,
        end: Option<&'a End>,
    },
    /// Further connections were refused.
    NotOpened(&'a str),
    /// Nothing happened.
    Alive {
        quiet: Duration,
        server_spoke: bool,
        proven: bool,
    },
}

/// Judges for a server that asks at this interval; a plain server's is not known.
pub(super) fn judge(seen: &Seen, interval: Option<Duration>) -> Check {
    let finding = find(seen);
    let check = match &finding {
        Finding::Age(busy) => of_age(busy),
        Finding::IdleCut { quiet, end } => cut(*quiet, end, interval),
        Finding::IdleDead { alive, dead, end } => dead_in_silence(*alive, *dead, *end, interval),
        Finding::NotOpened(why) => Check::new(
            NAME,
            Verdict::Warning,
            format_args!("further connections cannot be made: {why}"),
        )
        .advise("The server, or a proxy, does not allow several connections from here at the same time."),
        Finding::Alive {
            quiet,
            server_spoke,
            proven,
        } => alive(*quiet, *server_spoke, *proven),
    };
    check.fact("busy_survives", seen.busy.is_none())
}

fn find(seen: &Seen) -> Finding<'_> {
    let first_cut = seen
        .idle
        .iter()
        .filter_map(|idle| match idle {
            Idle::Cut { quiet, age, end } => Some((*quiet, *age, end)),
            _ => None,
        })
        .min_by_key(|(quiet, ..)| *quiet);
    if let Some(busy) = &seen.busy {
        let (later, earlier) = match first_cut {
            Some((_, age, _)) => (age.max(busy.age), age.min(busy.age)),
            None => (busy.age, busy.age),
        };
        if later - earlier <= SAME_AGE.max(later / 4) {
            return Finding::Age(busy);
        }
    }
    if let Some((quiet, _, end)) = first_cut {
        return Finding::IdleCut { quiet, end };
    }
    let alive = seen.idle.iter().filter_map(|idle| match idle {
        Idle::Alive { quiet, .. } => Some(*quiet),
        _ => None,
    });
    let alive = alive.max();
    for idle in &seen.idle {
        match idle {
            Idle::Dead { quiet, end } => {
                return Finding::IdleDead {
                    alive: alive.unwrap_or_default(),
                    dead: *quiet,
                    end: end.as_ref(),
                };
            }
            Idle::NotOpened(why) => return Finding::NotOpened(why),
            Idle::Alive { .. } | Idle::Cut { .. } => {}
        }
    }
    let said = |check: fn(&Idle) -> bool| seen.idle.iter().any(check);
    Finding::Alive {
        quiet: alive.unwrap_or_default(),
        server_spoke: said(|idle| {
            matches!(
                idle,
                Idle::Alive {
                    server_spoke: true,
                    ..
                }
            )
        }),
        proven: said(|idle| matches!(idle, Idle::Alive { proven: true, .. })),
    }
}

fn of_age(busy: &BusyEnd) -> Check {
    let age = shown(busy.age);
    let check = |kind: &str, summary| {
        Check::new(NAME, Verdict::Failed, summary)
            .fact("kind", kind)
            .fact("cut_after_ms", millis(busy.age))
    };
    match &busy.end {
        Some(end) => check("age", format!("cut after {age}, busy or not, by {end}"))
            .fact("by", end.name())
            .fact("noticed", "at once")
            .advise(format_args!(
                "{} ends connections after {age} however busy they are, by {end}: no heartbeat helps against that. Raise that limit, or count with a reconnect each time.",
                who(end)
            )),
        None => check("dead", format!("dead after {age}, busy or not, without a sign"))
            .fact("by", "silence")
            .fact("noticed", "never")
            .advise("The path died while it was in use, and nobody was told: only a heartbeat notices that. Look for what stopped forwarding."),
    }
}

fn cut(quiet: Duration, end: &End, interval: Option<Duration>) -> Check {
    let summary = format!("idle connections are cut after {}, by {end}", shown(quiet));
    let (verdict, ending) = against(quiet, interval);
    Check::new(NAME, verdict, summary)
        .fact("kind", "idle")
        .fact("cut_after_ms", millis(quiet))
        .fact("by", end.name())
        .fact("noticed", "at once")
        .advise(format_args!(
            "{} closes idle connections after {}, by {end}: keep the heartbeat's interval under {}.{ending}",
            who(end),
            shown(quiet),
            shown(quiet / 2)
        ))
}

fn dead_in_silence(
    alive: Duration,
    dead: Duration,
    end: Option<&End>,
    interval: Option<Duration>,
) -> Check {
    let summary = format!(
        "idle connections die without a sign, after {} at least and {} at most",
        shown(alive),
        shown(dead)
    );
    // Where none has survived, nothing is known but that half of it is too long already.
    let survives = if alive.is_zero() { dead / 2 } else { alive };
    let (verdict, ending) = against(survives, interval);
    let (noticed, how) = match end {
        Some(end) => ("when asked", format!("the next message brings about {end}")),
        None => ("never", "not even the next message is answered".to_owned()),
    };
    Check::new(NAME, verdict, summary)
        .fact("kind", "idle")
        .fact("alive_after_ms", millis(alive))
        .fact("dead_after_ms", millis(dead))
        .fact("by", "silence")
        .fact("noticed", noticed)
        .advise(format_args!(
            "Something on the way forgets idle connections and tells nobody ({how}); a client that waits for a close event waits for ever. Keep the heartbeat's interval under {}.{ending}",
            shown(survives / 2)
        ))
}

fn alive(quiet: Duration, server_spoke: bool, proven: bool) -> Check {
    let mut summary = format!("no cut within {} of silence", shown(quiet));
    if server_spoke {
        summary.push_str(", after which the server itself spoke");
    }
    if !proven {
        summary.push_str(", as far as can be told without a question that is answered");
    }
    Check::new(NAME, Verdict::Ok, summary)
        .fact("kind", "none")
        .fact("alive_after_ms", millis(quiet))
        .fact("server_spoke", server_spoke)
}

/// How bad an idle time-out is, beside the interval that is in force, and the sentence for it.
fn against(quiet: Duration, interval: Option<Duration>) -> (Verdict, String) {
    let Some(interval) = interval else {
        return (Verdict::Warning, String::new());
    };
    let own = shown(interval);
    if interval * 2 <= quiet {
        return (Verdict::Note, format!(" The server's {own} is."));
    }
    let verdict = if interval < quiet {
        Verdict::Warning
    } else {
        Verdict::Failed
    };
    let ending = format!(
        " The server's {own} is too long: set its --heartbeat-interval, or raise the time-out on the way."
    );
    (verdict, ending)
}

/// Who it was, as far as the manner tells.
const fn who(end: &End) -> &'static str {
    match end {
        End::CloseFrame { .. } => "The server, or a gateway that speaks WebSocket,",
        End::Fin | End::Reset | End::Broken(_) => "A proxy on the way (or the server itself)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const fn alive_after(seconds: u64) -> Idle {
        Idle::Alive {
            quiet: secs(seconds),
            server_spoke: false,
            proven: true,
        }
    }

    const fn cut_after(seconds: u64) -> Idle {
        Idle::Cut {
            quiet: secs(seconds),
            age: secs(seconds),
            end: End::Reset,
        }
    }

    fn judged(idle: [Idle; 3], busy: Option<u64>, interval: Option<u64>) -> Check {
        let busy = busy.map(|age| BusyEnd {
            age: secs(age),
            end: Some(End::Reset),
        });
        let idle = idle.to_vec();
        judge(&Seen { idle, busy }, interval.map(secs))
    }

    fn with_idle_time_out(interval: Option<u64>) -> Check {
        judged(
            [alive_after(17), alive_after(35), cut_after(60)],
            None,
            interval,
        )
    }

    #[test]
    fn an_idle_time_out_says_which_interval_to_set() {
        let check = with_idle_time_out(None);
        assert_eq!(check.verdict(), Verdict::Warning);
        let advice = check.advice();
        assert!(
            advice.contains("closes idle connections after 60 s"),
            "{advice}"
        );
        assert!(advice.contains("interval under 30 s"), "{advice}");
    }

    #[test]
    fn a_servers_interval_is_measured_against_the_time_out() {
        assert_eq!(with_idle_time_out(Some(10)).verdict(), Verdict::Note);
        assert_eq!(with_idle_time_out(Some(40)).verdict(), Verdict::Warning);
        let check = with_idle_time_out(Some(60));
        assert_eq!(check.verdict(), Verdict::Failed);
        assert!(check.advice().contains("too long"), "{}", check.advice());
    }

    #[test]
    fn busy_connections_cut_at_the_same_age_are_not_cut_for_silence() {
        let check = judged(
            [alive_after(17), alive_after(35), cut_after(60)],
            Some(61),
            Some(10),
        );
        assert_eq!(check.verdict(), Verdict::Failed);
        assert!(
            check.advice().contains("however busy"),
            "{}",
            check.advice()
        );
    }

    #[test]
    fn a_silent_death_is_bracketed_by_the_connections_that_were_asked() {
        let dead = |seconds, end| Idle::Dead {
            quiet: secs(seconds),
            end,
        };
        let check = judged(
            [alive_after(17), dead(35, None), dead(70, None)],
            None,
            None,
        );
        let advice = check.advice();
        assert!(advice.contains("tells nobody"), "{advice}");
        assert!(advice.contains("interval under 8.5 s"), "{advice}");
        let noticed = judged(
            [alive_after(17), dead(35, Some(End::Reset)), dead(70, None)],
            None,
            None,
        );
        assert!(
            noticed.advice().contains("brings about a reset"),
            "{}",
            noticed.advice()
        );
    }

    #[test]
    fn a_path_that_keeps_silence_needs_no_advice() {
        let check = judged(
            [alive_after(17), alive_after(35), alive_after(70)],
            None,
            Some(10),
        );
        assert_eq!(
            (check.verdict(), check.advice().as_str()),
            (Verdict::Ok, "")
        );
    }

    #[test]
    fn a_refused_further_connection_is_no_dead_one() {
        let refused = Idle::NotOpened("status 503".to_owned());
        let check = judged([alive_after(17), refused, alive_after(70)], None, None);
        assert_eq!(check.verdict(), Verdict::Warning);
    }
}
