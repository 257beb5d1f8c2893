package app

// OwnDir is ownDir.
var OwnDir = ownDir
