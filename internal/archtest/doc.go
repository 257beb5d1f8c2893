// Package archtest holds the import rules of the tree as a table, each with its reason, and a test that reads the tree by them.
package archtest
