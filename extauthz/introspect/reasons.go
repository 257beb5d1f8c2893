package introspect

// Reasons beside those of extauthz/token, which an answer's claims are refused with.
const (
	ReasonInactive = "inactive"              // the server does not know the token, or not any more
	ReasonBusy     = "introspection_busy"    // unavailable: as many questions as may be asked at once are being asked
	ReasonLimited  = "introspection_limited" // limited: the server was asked for too many tokens that were not good
	ReasonFailed   = "introspection_failed"  // unavailable: the server could not be asked, or did not answer in time
	ReasonRefused  = "introspection_refused" // unavailable: it answered something else than 200
	ReasonAnswer   = "introspection_answer"  // unavailable: its answer is none that can be trusted
)
