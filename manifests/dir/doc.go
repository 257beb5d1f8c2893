// Package dir is the source of objects that reads a directory of manifests and watches it.
//
//	tree (one read of every file) -> pacer (has it come to rest?) -> ledger (what is in force) -> Snapshot
//
// A directory is edited by people, editors and git, and no read of it is atomic. So what was read takes effect only after the
// directory has been left alone: edits after half of Options.Quiet, deletions after all of it and a second whole read that
// shows the same. Whatever can't be understood leaves its last good version in force: the unit of failure is the object.
// Last-good objects survive a restart in Options.StateDir.
//
// What a directory may hold: .yaml, .yml and .json, in sub-directories too. Names that begin with "." or "#" or end in "~" are not
// read. Symbolic links are followed, so that a Kubernetes volume ("..data") or a "current" link can be swapped.
//
// Contents, by hash, decide what changed. Notifications (inotify) only say when to look; where there are none, polling looks.
//
// The package knows no kind: a decoder is handed in.
package dir
