/*
 * What both fuzzers do: run hakctl on the process itself, which must end in time, by
 * itself, with 0, 1 or 2, and print nothing that steers a terminal.
 */
#ifndef HAK_TEST_FUZZ_H
#define HAK_TEST_FUZZ_H

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* hakctl waits 30 s for a deed. */
#define LIMIT_MS 40000
#define KEEP 16384 /* of what hakctl printed, for the message */

static uint64_t seed;

static uint64_t random_next(void)
{
	/* splitmix64 */
	uint64_t z = __atomic_add_fetch(&seed, 0x9e3779b97f4a7c15u, __ATOMIC_RELAXED);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static uint64_t random_below(uint64_t n)
{
	return random_next() % n;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static char *hakctl;
static char own_pid[16];
static char printed[KEEP];
static size_t printed_length;

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const looks[][8] = {
	{ "ps" }, { "ps", "--json" }, { "stats", "PID", "--all" }, { "stats", "PID" },
	{ "stats", "PID", "--all", "--json" },
	{ "stats", "PID", "--all", "--interval", "0.01", "--count", "3" },
	{ "stats", "PID", "--interval", "0.01", "--count", "3", "--json" },
	{ "get", "PID", "stats.allocated", "stats.arenas.4096.bins.3.curregs",
	    "stats.arenas.8.lextents.17.nmalloc", "arenas.bin.3.size" },
	{ "export", "PID" },
};

static pid_t start(const char *const *command, int *out)
{
	const char *arguments[10] = { hakctl };
	int pipes[2];

	for (int i = 0; i < 8 && command[i]; i++)
		arguments[i + 1] = strcmp(command[i], "PID") == 0 ? own_pid : command[i];
	if (pipe2(pipes, O_CLOEXEC) != 0) {
		perror("pipe2");
		exit(1);
	}
	/* Not fork: its handlers might meet what is damaged. */
	pid_t pid = vfork();
	if (pid == 0) {
		dup2(pipes[1], 1);
		dup2(pipes[1], 2);
		execv(hakctl, (char *const *)arguments);
		_exit(127);
	}
	close(pipes[1]);
	*out = pipes[0];
	return pid;
}

/* All that it prints; false: not done in time, or something a terminal obeys. */
static bool read_all(int out, const char **wrong)
{
	uint64_t deadline = now_ns() + (uint64_t)LIMIT_MS * 1000000;
	char buffer[4096];
	bool good = true;

	printed_length = 0;
	for (;;) {
		struct pollfd p = { .fd = out, .events = POLLIN };
		uint64_t now = now_ns();
		if (now >= deadline || poll(&p, 1, (int)((deadline - now) / 1000000) + 1) <= 0) {
			*wrong = "hangs";
			return false;
		}
		ssize_t n = read(out, buffer, sizeof(buffer));
		if (n <= 0)
			return good;
		for (ssize_t i = 0; i < n; i++) {
			if ((buffer[i] < ' ' && buffer[i] != '\n' && buffer[i] != '\t') ||
			    buffer[i] == 127) {
				*wrong = "prints what steers a terminal";
				good = false;
			}
			if (printed_length < KEEP)
				printed[printed_length++] = buffer[i];
		}
	}
}

static bool run(const char *const *command)
{
	const char *wrong = NULL;
	int out, status;
	pid_t pid = start(command, &out);
	bool good = read_all(out, &wrong);

	if (!good && strcmp(wrong, "hangs") == 0)
		kill(pid, SIGKILL);
	close(out);
	waitpid(pid, &status, 0);
	if (good && (!WIFEXITED(status) || WEXITSTATUS(status) > 2)) {
		wrong = WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "odd exit code";
		good = false;
	}
	if (!good) {
		printf("FAILED: hakctl");
		for (int i = 0; i < 8 && command[i]; i++)
			printf(" %s", command[i]);
		printf(": %s\n%.*s\n", wrong, (int)printed_length, printed);
	}
	return good;
}

/* ROUNDS from SEED: main's arguments. Returns the exit code. */
static int run_rounds(int argc, char **argv, bool (*round_of)(uint64_t seed))
{
	static char buffer[4096];
	unsigned long rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 200;
	uint64_t first = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
	unsigned long failed = 0;

	if (argc < 2) {
		fprintf(stderr, "usage: %s HAKCTL [ROUNDS [SEED]]\n", argv[0]);
		return 2;
	}
	hakctl = argv[1];
	snprintf(own_pid, sizeof(own_pid), "%d", getpid());
	setvbuf(stdout, buffer, _IOLBF, sizeof(buffer));
	for (unsigned long i = 0; i < rounds && failed < 5; i++)
		failed += !round_of(first + i);
	printf("%s: %lu rounds, %lu failed\n", argv[0], rounds, failed);
	return failed != 0;
}

#endif
