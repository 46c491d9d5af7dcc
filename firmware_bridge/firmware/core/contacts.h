/* Switches with two contacts that open and close together: e-stop and pedal. */
#ifndef TROCAR_CONTACTS_H
#define TROCAR_CONTACTS_H

#include <stdbool.h>
#include <stdint.h>

struct contacts {
    bool any, both;            /* of the two are active now */
    uint32_t differ_ticks;     /* for so long they have disagreed */
    bool suspect;              /* they have disagreed for too long, and have not been active together since */
};

/* Takes the newest values; each not 0: that contact is active. */
void contacts_sample(struct contacts *contacts, const uint32_t values[2]);

/* True while they disagree, and have for longer than two sound contacts may. */
bool contacts_differ(const struct contacts *contacts);

#endif
