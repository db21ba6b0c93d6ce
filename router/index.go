package router

import (
	"hash/maphash"
	"iter"
)

// index is an immutable map with string keys. It is split into shards, so that a new
// version copies only the shards that differ from the old one.
type index[V any] struct {
	seed   maphash.Seed
	shards []map[string]V // a power of two
	len    int
}

// newIndex returns an empty index of that many shards, a power of two.
func newIndex[V any](shards int) *index[V] {
	return &index[V]{seed: maphash.MakeSeed(), shards: make([]map[string]V, shards)}
}

// get returns the value of key, the zero value when there is none.
func (x *index[V]) get(key []byte) V {
	return x.shards[maphash.Bytes(x.seed, key)&uint64(len(x.shards)-1)][string(key)]
}

// all iterates over the index in no particular order.
func (x *index[V]) all() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, shard := range x.shards {
			for k, v := range shard {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

// edit is a new version of an index that is being made.
type edit[V any] struct {
	*index[V]
	from  *index[V]
	owned []bool // shards that have been copied
}

// edit begins a new version.
func (x *index[V]) edit() *edit[V] { return &edit[V]{index: x, from: x} }

// set sets the value of key, or removes it unless keep.
func (e *edit[V]) set(key string, v V, keep bool) {
	if e.owned == nil {
		next := *e.from
		next.shards = append([]map[string]V(nil), e.from.shards...)
		e.index, e.owned = &next, make([]bool, len(next.shards))
	}
	i := maphash.String(e.seed, key) & uint64(len(e.shards)-1)
	if !e.owned[i] {
		shard := make(map[string]V, len(e.shards[i])+1)
		for k, old := range e.shards[i] {
			shard[k] = old
		}
		e.shards[i], e.owned[i] = shard, true
	}
	shard := e.shards[i]
	e.len -= len(shard)
	if keep {
		shard[key] = v
	} else {
		delete(shard, key)
	}
	e.len += len(shard)
}

// done returns the new version, the old one when nothing was set.
func (e *edit[V]) done() *index[V] { return e.index }
