"""One child process: launch, readiness, output, stop, reap."""
