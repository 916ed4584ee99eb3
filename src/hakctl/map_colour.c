#include "config.h"

#include "hakctl/map.h"

/* A part of the colour wheel for each layer, apart from each other for those who
 * tell few colours, too: blue, green, orange. */
static const struct { unsigned first, end; double from, to; } hues[] = {
	{ 1, CLASS_L2, 190, 270 },
	{ CLASS_L2, CLASS_L25, 80, 165 },
	{ CLASS_L25, CLASS_WHALE, 10, 50 },
};

static double hue_of(unsigned class)
{
	for (unsigned i = 0; i < 3; i++)
		if (class >= hues[i].first && class < hues[i].end)
			return hues[i].from + (hues[i].to - hues[i].from) *
			    (class - hues[i].first) / (hues[i].end - hues[i].first);
	return 310;
}

/* One of red, green and blue: 0, 8 and 4 for shift, as is usual for HSL. */
static uint8_t channel(double hue, double saturation, double lightness, double shift)
{
	double k = shift + hue / 30, peak;

	if (k >= 12)
		k -= 12;
	peak = k - 3 < 9 - k ? k - 3 : 9 - k;
	peak = peak > 1 ? 1 : peak < -1 ? -1 : peak;
	double amplitude = saturation * (lightness < 0.5 ? lightness : 1 - lightness);
	return (uint8_t)(255 * (lightness - amplitude * peak) + 0.5);
}

struct map_colour map_colour_of(enum map_kind kind, unsigned class, unsigned used)
{
	static const uint8_t greys[MAP_KINDS] = {
		[MAP_KIND_CLEAN] = 244, [MAP_KIND_DIRTY] = 150, [MAP_KIND_MUZZY] = 205 };

	if (kind != MAP_KIND_SLAB)
		return (struct map_colour) { greys[kind], greys[kind], greys[kind] };
	double hue = hue_of(class), lightness = 0.88 - 0.50 * used / 255;
	return (struct map_colour) {
		.red = channel(hue, 0.65, lightness, 0),
		.green = channel(hue, 0.65, lightness, 8),
		.blue = channel(hue, 0.65, lightness, 4),
	};
}
