package apikey

// Lookups is how often an entry was looked for.
func (v *Verifier) Lookups() uint64 { return v.lookups.Load() }
