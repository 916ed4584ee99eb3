/* The library's end of the stats segment (segment.h): to be given to
 * background_serve() once, at the start. */
#ifndef HAK_CTL_SERVE_H
#define HAK_CTL_SERVE_H

#include "arena/background.h"

extern struct background_service segment_service;

#endif
