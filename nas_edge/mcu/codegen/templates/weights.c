/* Parameters of @title@: @origin@. */
#include "net_weights.h"

NET_WEIGHTS_SECTION const net_weights_t net_weights = {
@members@
    .readahead = {0},
};
