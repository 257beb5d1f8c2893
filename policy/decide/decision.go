package decide

import (
	"time"

	"github.com/credence-mesh/credence/policy"
)

// Reason says in one stable word why a Decision is what it is. The zero value is Undecided.
type Reason int

// Reasons.
const (
	// Undecided is the reason of the zero Decision.
	Undecided Reason = iota
	// Allowed: every level has a rule that allows.
	Allowed
	// NoPolicy: no level has a policy.
	NoPolicy
	// TargetDenied: the Set says no whatever the rules say (Access.Denied).
	TargetDenied
	// IssuerMissing: a policy in force names an issuer that does not exist, so it cannot be told.
	IssuerMissing
	// DeniedByRule: a deny rule matches.
	DeniedByRule
	// TokenMissing: a rule for this operation and this caller would match with a user, and there is none.
	TokenMissing
	// IssuerNotAccepted: the user's token is of an issuer that the level does not accept.
	IssuerNotAccepted
	// InsufficientScope: the user lacks scopes; MissingScopes names them.
	InsufficientScope
	// ClaimsMismatch: the user's scopes hold and the claims do not.
	ClaimsMismatch
	// PeerNotAllowed: rules for this operation exist and none is for the calling workload.
	PeerNotAllowed
	// NoRuleMatches: no rule of the level is for this operation.
	NoRuleMatches
	// PrincipalNotAllowed: the token speaks for a service where a user is wanted, or the other way round.
	PrincipalNotAllowed
	// CredentialsMissing: a policy in force names Credentials that do not exist or have no such users, so it cannot be told.
	CredentialsMissing
	// CredentialNotAccepted: the user came with a kind of credential that the level, or the nearest rule of it, does not accept.
	CredentialNotAccepted
	// RolesMissing: the user's scopes and claims hold, and the roles do not; Detail names what is missing.
	RolesMissing
	// GroupsMissing: the same of groups.
	GroupsMissing
	// InsufficientAuthentication: all but the strength or the time of the sign-in holds (RFC 9470); ACR and MaxAge say what is wanted.
	InsufficientAuthentication
	// ConditionFalse: all but the condition holds.
	ConditionFalse
	// HeadersMismatch: a rule would be for this operation if the request had other headers.
	HeadersMismatch
)

// String is the code that logs, metrics and clients see. Codes never change their meaning.
func (r Reason) String() string {
	switch r {
	case Undecided:
		return "undecided"
	case Allowed:
		return "allowed"
	case NoPolicy:
		return "no_policy"
	case TargetDenied:
		return "target_denied"
	case IssuerMissing:
		return "issuer_missing"
	case DeniedByRule:
		return "denied_by_rule"
	case TokenMissing:
		return "token_missing"
	case IssuerNotAccepted:
		return "issuer_not_accepted"
	case InsufficientScope:
		return "insufficient_scope"
	case ClaimsMismatch:
		return "claims_mismatch"
	case PeerNotAllowed:
		return "peer_not_allowed"
	case NoRuleMatches:
		return "no_rule_matches"
	case PrincipalNotAllowed:
		return "principal_not_allowed"
	case CredentialsMissing:
		return "credentials_missing"
	case CredentialNotAccepted:
		return "credential_not_accepted"
	case RolesMissing:
		return "roles_missing"
	case GroupsMissing:
		return "groups_missing"
	case InsufficientAuthentication:
		return "insufficient_user_authentication"
	case ConditionFalse:
		return "condition_false"
	case HeadersMismatch:
		return "headers_mismatch"
	}
	return "undecided"
}

// Class is what the client may do about a Reason. The zero value is Forbidden: the safest.
type Class int

// Classes.
const (
	// Forbidden is 403: you may not.
	Forbidden Class = iota
	// Unauthorized is 401: come back with a (different) token.
	Unauthorized
	// Unavailable is 503: it cannot be told.
	Unavailable
	// Permitted is the class of Allowed alone.
	Permitted
)

// Class of the reason.
func (r Reason) Class() Class {
	switch r {
	case Allowed:
		return Permitted
	case TokenMissing, IssuerNotAccepted, CredentialNotAccepted, InsufficientAuthentication:
		return Unauthorized
	case IssuerMissing, CredentialsMissing:
		return Unavailable
	case Undecided, NoPolicy, TargetDenied, DeniedByRule, InsufficientScope, ClaimsMismatch, PeerNotAllowed, NoRuleMatches,
		PrincipalNotAllowed, RolesMissing, GroupsMissing, ConditionFalse, HeadersMismatch:
		return Forbidden
	}
	return Forbidden
}

// Decision is the answer. Its zero value is deny, and only Route.Decide makes one that allows.
type Decision struct {
	allowed bool
	// Reason is Allowed exactly when Allowed() is true.
	Reason Reason
	// Level, Policy and Rule decided: for an allow those of the innermost level; for a deny the matching deny rule, or the rule that came
	// nearest to an allow. Zero where none did.
	Level  policy.LevelKind
	Policy policy.Name
	Rule   string
	// MissingScopes with InsufficientScope: what the nearest rule needs and the user lacks, sorted; of its anyOf the first.
	MissingScopes []string
	// ACR and MaxAge with InsufficientAuthentication: what the nearest rule wants, the preferred context first; empty and 0: not that.
	ACR    []string
	MaxAge time.Duration
	// Detail is text for operators, not for clients: the Set's words for TargetDenied, the issuer for IssuerMissing, the Credentials for CredentialsMissing.
	Detail string
	// ByPeer: the rule that allows asks for a calling workload and no user: who it is stands for the user.
	ByPeer bool
	// Audit are the audit rules that match, at most MaxAudit. They decide nothing.
	Audit []AuditHit
}

// AuditHit is one audit rule that matches the request.
type AuditHit struct {
	Policy policy.Name
	Rule   string
	Action policy.Action
}

// MaxAudit bounds Decision.Audit.
const MaxAudit = 16

// Allowed tells whether the request may pass.
func (d Decision) Allowed() bool { return d.allowed }

// allow is the one place where an allowing Decision is made.
func allow(level policy.LevelKind, c *compiled) Decision {
	return Decision{allowed: true, Reason: Allowed, Level: level, Policy: c.policy.Name, Rule: c.rule.Name, ByPeer: c.rule.NeedsPeer && !c.needsUser}
}

func deny(reason Reason, level policy.LevelKind, c *compiled) Decision {
	d := Decision{Reason: reason, Level: level}
	if c != nil {
		d.Policy, d.Rule = c.policy.Name, c.rule.Name
	}
	return d
}
