/* Statistics as text for people and as JSON for programs. */
#ifndef HAK_CTL_PRINT_H
#define HAK_CTL_PRINT_H

/*
 * As hak_malloc_stats_print (hakmem.h): options are letters, J for JSON, each other
 * leaves something out. write_cb NULL: where messages go. Allocates nothing but a
 * snapshot's metadata.
 */
void print_stats(void (*write_cb)(void *, const char *), void *opaque,
    const char *options);

#endif
