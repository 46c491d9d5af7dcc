#include "contacts.h"

#include "messages.h"

/* A hand or a foot moves both contacts of one switch within a few ms; bouncing included, 10 ms. */
#define DIFFER_TICKS (10000u / FW_TICK_US)

void contacts_sample(struct contacts *contacts, const uint32_t values[2])
{
    const bool first = values[0] != 0, second = values[1] != 0;
    contacts->any = first || second;
    contacts->both = first && second;
    if (first == second)
        contacts->differ_ticks = 0;
    else if (contacts->differ_ticks < DIFFER_TICKS)
        contacts->differ_ticks++;

    if (contacts_differ(contacts))
        contacts->suspect = true;
    else if (contacts->both)
        contacts->suspect = false;
}

bool contacts_differ(const struct contacts *contacts)
{
    return contacts->differ_ticks >= DIFFER_TICKS;
}
