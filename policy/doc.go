// Package policy answers: what stands between the match and the instance?
//
// A policy is one small file: what tags ask for (a field of OfRoute or OfInstance),
// what that is compiled to, and what /explain says of it. ForRoute and ForInstance
// list all of them in the order that they are applied, which no tag can change.
//
// A policy has a part in one phase or several, each an interface:
//
//   - RequestPolicy, before an instance is picked: it may answer the request itself;
//   - ForwardPolicy, each time the request is about to be sent to an instance: it
//     changes the head that is sent, never the one that came;
//   - AnswerPolicy, for every final answer, whoever gives it, and for every 101: it
//     changes the answer's head.
//
// Policies are compiled with the table and shared by all requests. What they learn
// from requests is kept in a State, which outlives tables.
package policy
