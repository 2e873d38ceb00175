// The host objects of Mini Programs: global where they exist.
declare const wx: any
declare const my: any
declare const tt: any
declare const uni: any
