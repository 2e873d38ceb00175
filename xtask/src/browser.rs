//! The browser that the tests drive, and the display it needs: found, or installed where that is
//! possible without asking anybody.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::packages::{first, install, may_install};

/// Where the tests find what they need.
pub(crate) struct Browser {
    pub(crate) chromium: PathBuf,
    /// The virtual display, for tabs that are really hidden.
    pub(crate) xvfb: PathBuf,
}

/// Finds Chromium and Xvfb. As root on Debian they are installed if they are missing; elsewhere the
/// error says what to install.
pub(crate) fn ready() -> Result<Browser> {
    if let Ok(browser) = find() {
        return Ok(browser);
    }
    if may_install() {
        println!("Chromium or Xvfb is missing: installing both from Debian's packages");
        install(&["chromium", "xvfb"])?;
    }
    find()
}

fn find() -> Result<Browser> {
    let chromium = first(
        "HEARTWIRE_CHROMIUM",
        &[
            "/usr/bin/chromium",
            "/usr/bin/chromium-browser",
            "/usr/bin/google-chrome",
        ],
    );
    let xvfb = first("XVFB_BIN", &["/usr/bin/Xvfb"]);
    match (chromium, xvfb) {
        (Some(chromium), Some(xvfb)) => Ok(Browser { chromium, xvfb }),
        (None, _) => bail!(
            "Chromium is missing: install it (apt-get install chromium), or name it in HEARTWIRE_CHROMIUM"
        ),
        (_, None) => {
            bail!("Xvfb is missing: install it (apt-get install xvfb), or name it in XVFB_BIN")
        }
    }
}
