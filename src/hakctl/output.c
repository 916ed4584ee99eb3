#define _GNU_SOURCE
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hakctl/commands.h"
#include "hakctl/output.h"

static int complain_file(const struct output *output)
{
	return complain("cannot write %s: %s", output->path, strerror(errno));
}

static int open_as_it_is(struct output *output)
{
	output->stream = fopen(output->path, "we");
	return output->stream ? EXIT_FINE : complain_file(output);
}

static mode_t wanted_mode(void)
{
	mode_t mask = umask(0);

	umask(mask);
	return 0666 & ~mask;
}

/* Hidden, and not with the file's own ending, so that who reads all of a folder's
 * files of a kind leaves it alone. */
static char *temporary_name(const char *real)
{
	const char *slash = strrchr(real, '/');
	int folder = slash ? (int)(slash - real + 1) : 0;
	char *name;

	return asprintf(&name, "%.*s.%s.XXXXXX", folder, real, real + folder) < 0 ?
	    NULL : name;
}

static int open_temporary(struct output *output)
{
	/* A link stays one. */
	output->real = realpath(output->path, NULL);
	if (!output->real)
		output->real = strdup(output->path);
	output->temporary = output->real ? temporary_name(output->real) : NULL;
	int fd = output->temporary ? mkostemp(output->temporary, O_CLOEXEC) : -1;
	if (fd >= 0) {
		output->stream = fdopen(fd, "w");
		if (fchmod(fd, wanted_mode()) == 0 && output->stream)
			return EXIT_FINE;
		unlink(output->temporary);
		if (!output->stream)
			close(fd);
	}
	int code = complain_file(output);
	if (output->stream)
		fclose(output->stream);
	free(output->temporary);
	free(output->real);
	return code;
}

int output_open(struct output *output, const char *path)
{
	struct stat st;

	*output = (struct output) { .path = path };
	if (!path || strcmp(path, "-") == 0) {
		output->stream = stdout;
		return EXIT_FINE;
	}
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return open_as_it_is(output);
	return open_temporary(output);
}

int output_close(struct output *output, bool keep)
{
	int code = EXIT_FINE;

	/* main() looks after stdout. */
	if (output->stream == stdout)
		return code;
	bool is_whole = !ferror(output->stream);
	/* Before its name: a crash of the system must not leave an empty file. */
	if (output->real && keep)
		is_whole = fflush(output->stream) == 0 &&
		    fsync(fileno(output->stream)) == 0 && is_whole;
	is_whole = fclose(output->stream) == 0 && is_whole;
	if (keep && (!is_whole ||
	    (output->real && rename(output->temporary, output->real) != 0)))
		code = complain_file(output);
	if (output->temporary && (!keep || code != EXIT_FINE))
		unlink(output->temporary);
	free(output->temporary);
	free(output->real);
	return code;
}
