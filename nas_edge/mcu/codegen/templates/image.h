
/* Fills net_input() from bytes [height][width][channels] of 0 to 255, red first, scaled as in training. */
void net_set_pixels(const uint8_t *pixels);

/* Names of the classes. */
extern const char *const net_labels[NET_OUTPUTS];
