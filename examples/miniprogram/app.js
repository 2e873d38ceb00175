const { Heartwire } = require('heartwire')

// One link for the whole program: pages come and go, the link stays.
App({ link: new Heartwire('wss://example.com/websocket') })
