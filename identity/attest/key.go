package attest

import (
	"golang.org/x/sys/unix"
)

// pidfsMagic is the type of the file system of pidfds since Linux 6.9 (include/uapi/linux/magic.h).
const pidfsMagic = 0x50494446

// key tells processes apart for as long as the machine runs: by the inode of pidfs, which no other process gets; before Linux 6.9, where all
// pidfds share one inode, by number and start time.
type key struct {
	inode uint64
	pid   int
	start uint64
}

func keyOf(inode uint64, pid int, start uint64) key {
	if inode != 0 {
		return key{inode: inode}
	}
	return key{pid: pid, start: start}
}

// pidfsInode returns 0 where pidfds have no inodes of their own.
func pidfsInode(pidfd int) uint64 {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(pidfd, &fs); err != nil || fs.Type != pidfsMagic {
		return 0
	}
	var st unix.Stat_t
	if err := unix.Fstat(pidfd, &st); err != nil {
		return 0
	}
	return st.Ino
}
