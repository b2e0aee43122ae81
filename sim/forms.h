/* forms.h -- what a text must look like, before it can be read: forms of the schema's rows. */
#ifndef KVLAB_FORMS_H
#define KVLAB_FORMS_H

#include <stdbool.h>

/* A contender: CONVERSION[*CODEC][@EVICTION], the conversion in its one spelling up to its options.
 * Those, codec and eviction are read once the model is known (recipe.h, method.h). */
bool form_is_contender(const char *text);

#endif
