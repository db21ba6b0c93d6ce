// Package policy answers: what do a route's tags change in a request or an answer?
//
// A policy is one small file: its configuration by tags (a field of OfRoute or
// OfInstance), its compiled form, and its explanation in /explain. ForRoute and
// ForInstance list all of them in the order in which they are applied, which no tag can
// change.
//
// A policy takes part in one phase or several, each an interface:
//
//   - RequestPolicy, before an instance is picked: it may answer the request itself;
//   - ForwardPolicy, each time the request is about to be sent to an instance: it
//     changes the head that is sent, never the one that was received, or refuses the
//     request;
//   - TrailerPolicy, for the trailers of a request or an answer;
//   - AnswerPolicy, for every final answer, from an instance or from serai, and for
//     every 101: it changes the answer's head.
//
// Policies are compiled with the table and shared by all requests. What they learn
// from requests is kept in a State, which outlives tables.
package policy
