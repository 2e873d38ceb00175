//! Where messages of a pattern are posted: `inbox https://back.example/hook name=billing batch=100`.

use std::str::FromStr;

use heartwire_server::{HubBuilder, Pattern, Webhook, WebhookSecrets};

use super::options::Options;
use super::settings::invalid;
use crate::failure::Failure;
use crate::span::Span;

/// A pattern, a URL, and how messages are posted to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct WebhookRule {
    topics: Pattern,
    url: String,
    name: Option<String>,
    batch: Option<usize>,
    timeout: Option<Span>,
    secret_file: Option<String>,
    from_head: bool,
}

impl FromStr for WebhookRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let pattern = words.next().unwrap_or_default();
        let topics = pattern
            .parse()
            .map_err(|_| format!("{pattern:?} is no topic, nor a beginning and `*`"))?;
        let url = words.next().ok_or("a URL has to follow the topics")?;
        let mut rule = Self {
            topics,
            url: url.to_owned(),
            name: None,
            batch: None,
            timeout: None,
            secret_file: None,
            from_head: false,
        };
        for word in words {
            rule.take(word)?;
        }
        Ok(rule)
    }
}

impl WebhookRule {
    fn take(&mut self, word: &str) -> Result<(), String> {
        let in_word = |error: String| format!("{word}: {error}");
        match word.split_once('=') {
            Some(("name", name)) => self.name = Some(name.to_owned()),
            Some(("batch", number)) => {
                let number = number.parse();
                self.batch = Some(number.map_err(|_| in_word("not a number".into()))?);
            }
            Some(("timeout", span)) => self.timeout = Some(span.parse().map_err(in_word)?),
            Some(("secret-file", file)) => self.secret_file = Some(file.to_owned()),
            Some(("from", "head")) => self.from_head = true,
            Some(("from", "tail")) => self.from_head = false,
            _ => {
                return Err(format!(
                    "{word:?} is none of name=NAME, batch=N, timeout=DURATION, from=head|tail, \
                     secret-file=FILE"
                ));
            }
        }
        Ok(())
    }

    /// The webhook, with `secrets` where the rule names no file.
    fn webhook(&self, secrets: Option<&WebhookSecrets>) -> Result<Webhook, Failure> {
        let secrets = match &self.secret_file {
            Some(file) => WebhookSecrets::file(file).map_err(|error| invalid("webhook", error))?,
            None => secrets.cloned().ok_or_else(|| {
                let message = "what is posted is signed: set webhook-secret or webhook-secret-file";
                invalid("webhook", message)
            })?,
        };
        let described = || {
            let mut hook = Webhook::new(self.topics.clone(), &self.url, secrets)?;
            if let Some(name) = &self.name {
                hook = hook.name(name)?;
            }
            if let Some(messages) = self.batch {
                hook = hook.batch(messages)?;
            }
            if let Some(timeout) = self.timeout {
                hook = hook.timeout(timeout.0)?;
            }
            Ok(hook)
        };
        let hook = described();
        let hook =
            hook.map_err(|error: heartwire_server::WebhookError| invalid("webhook", error))?;
        Ok(match self.from_head {
            true => hook.from_head(),
            false => hook,
        })
    }
}

/// Adds the webhooks.
pub(super) fn with_webhooks(mut hub: HubBuilder, options: &Options) -> Result<HubBuilder, Failure> {
    let secrets = secrets(options)?;
    if secrets.is_some() && options.webhook.is_empty() {
        return Err(invalid("webhook-secret", "there is no webhook to sign for"));
    }
    let mut names = Vec::new();
    for rule in &options.webhook {
        let hook = rule.webhook(secrets.as_ref())?;
        let name = hook.called().to_owned();
        if names.contains(&name) {
            let message = format!("two are called {name}: give one of them another name=");
            return Err(invalid("webhook", message));
        }
        names.push(name);
        hub = hub.webhook(hook);
    }
    Ok(hub)
}

fn secrets(options: &Options) -> Result<Option<WebhookSecrets>, Failure> {
    match (&options.webhook_secret[..], &options.webhook_secret_file) {
        ([], None) => Ok(None),
        ([], Some(file)) => WebhookSecrets::file(file)
            .map(Some)
            .map_err(|error| invalid("webhook-secret-file", error)),
        (given, None) => {
            let lines = given.iter().map(|secret| secret.as_str());
            WebhookSecrets::parse(&lines.collect::<Vec<_>>().join("\n"))
                .map(Some)
                .map_err(|error| invalid("webhook-secret", error))
        }
        (_, Some(_)) => {
            let message = "secrets are given, or stand in webhook-secret-file";
            Err(invalid("webhook-secret", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::settings::Settings;

    const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

    fn error(webhook: &str, more: &str) -> String {
        let options = toml::from_str(&format!("webhook = {webhook}\n{more}"));
        let failure = Settings::check(&options.expect("well-formed options"));
        let failure = failure.expect_err("something is wrong");
        failure.message().expect("an explanation").to_owned()
    }

    #[test]
    fn a_rule_says_what_goes_where() {
        let rule = "news:* https://back.example/h?k=1,2 name=news batch=50 timeout=3s from=head";
        let rule: WebhookRule = rule.parse().expect("well-formed");
        assert_eq!(
            (rule.topics.to_string(), rule.url.as_str()),
            ("news:*".to_owned(), "https://back.example/h?k=1,2")
        );
        let secrets = WebhookSecrets::parse(SECRET).expect("a secret");
        let hook = rule.webhook(Some(&secrets)).expect("in range");
        assert_eq!(hook.called(), "news");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, named) in [
            ("", "no topic"),
            ("inbox", "a URL"),
            ("inbox http://a batch=many", "batch=many"),
            ("inbox http://a timeout=later", "timeout=later"),
            ("inbox http://a twice", "\"twice\""),
        ] {
            let error = text.parse::<WebhookRule>().expect_err(text);
            assert!(error.contains(named), "{text}: {error}");
        }
        let secret = format!("webhook-secret = '{SECRET}'");
        assert!(error("'inbox http://a'", "").contains("webhook-secret-file"));
        assert!(error("'inbox ftp://a'", &secret).starts_with("webhook: the URL"));
        assert!(error("'inbox http://a batch=1001'", &secret).contains("1 to 1000"));
        assert!(error("'inbox http://a timeout=3m'", &secret).contains("may take"));
        assert!(error("['t http://a', 't http://b']", &secret).contains("two are called t"));
        assert!(error("[]", &secret).contains("no webhook"));
        assert!(error("'t http://a'", "webhook-secret = 'swordfish'").contains("base64"));
        let twice = format!("{secret}\nwebhook-secret-file = 'f'");
        assert!(error("'t http://a'", &twice).contains("webhook-secret-file"));
        assert!(error("'t http://a secret-file=/nowhere'", "").contains("/nowhere"));
    }
}
