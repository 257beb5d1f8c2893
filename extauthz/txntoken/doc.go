// Package txntoken is the mesh's internal token (Txn-Token, draft-ietf-oauth-transaction-tokens): a JWT that lives for a minute and says who
// the user is, through which client and workload the request came, and what it may do. It is made once a request has passed the Check of
// a proxy that read another credential, and is passed on unchanged from there.
//
// Its keys sign nothing else. It knows nothing of Envoy.
package txntoken
