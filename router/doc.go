// Package router answers: which route takes this request?
//
// Tags become Definitions (what a team asks for), Definitions become Routes
// (what runs), Routes become a Table, and a Table answers Lookup. What was
// refused on the way stays in the Table as Rejections. The package does no I/O
// and knows no HTTP library: a request is a Query of bytes.
//
// # The life of a tag
//
// A Grammar parses the tags of one instance. A Builder joins the instances of
// a service into Routes, keeps what must outlive a table (the age of a claim,
// its statistics, the room where its requests wait), and makes each Table from
// the last one by changing only what belongs to the services that changed. A
// Router holds the current Table.
//
// # How a tag is read
//
// A tag is PREFIX.KEY=VALUE for the unnamed route, or PREFIX.ROUTE.KEY=VALUE.
// Tags that do not start with the prefix and a dot belong to another program and are
// ignored; the prefix alone, or a tag without "=", is a Rejection. These rules resolve
// what could be read in two ways:
//
//   - The first "=" ends the key; the value may contain more of them.
//   - Position decides, not the word: with a second dot after the prefix, the first
//     word is a route, so PREFIX.check.interval=5s is the key "interval" of a
//     route called "check" (and refused, with a hint at check-interval), and
//     a route may have the name of a key, as in PREFIX.host.path=/x.
//   - Keys and route names are lower-case and are not folded. A route name has
//     up to 64 letters, digits, dashes and underscores, and begins with a
//     letter or digit. Host names and header names are folded to lower case.
//   - Blanks around a value and around the elements of a list are dropped.
//   - Only host, path, path-exact and method are lists: their elements cannot
//     contain a comma. The value of a header or query condition can.
//   - A key may be given once for each route, even with the same value; only
//     header and query may be repeated, once for each name, and each adds a
//     condition. A repeated element of a list counts once.
//   - The value that the grammar gives as the default may always be written
//     out: sticky=off, max-body=none.
//   - A key that only refines another, such as check-interval, tls-name or
//     redirect-status, may be given without it and then has no effect.
//   - A path prefix has no trailing slash: /api/ means /api. The default path
//     "/" applies only when neither path nor path-exact is given.
//
// A faulty tag refuses the route that it names, for the instances that carry the tag,
// and nothing else. A tag that names no route (the prefix alone) refuses none and is
// only reported.
package router
