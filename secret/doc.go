// Package secret answers: what does a secret that the operator keeps in a Nomad variable
// say now?
//
// A Store reads the variables that the config file names, and watches them: whoever needs
// one of their items, a Secret, is given its content at once and whenever it changes.
//
// What was read last stays in use for as long as Nomad is silent, refuses, or answers with
// nonsense, and when a new content cannot be used: missing data removes nothing. It ends
// only when Nomad's leader says that the variable, or the item, does not exist. A secret
// that was never read is nil to whoever needs it, and lets nobody in. It is kept in memory
// alone, and no error, status or line of the log has any of it.
package secret
