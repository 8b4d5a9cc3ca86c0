/* What stands above the result of an expression, when it is printed as a table. */
#include "tools/jmes_priv.h"

static const char *title_of(const struct jmes_node *node);

static const char *function_title(const struct jmes_node *node)
{
    size_t argument = 0;
    if (!jmes_function_keeps_items(node->function, &argument))
        return "";
    const struct jmes_node *child = node->children;
    while (argument-- > 0)
        child = child->next;
    return title_of(child->left);
}

/* The last member named on the way. */
static const char *title_of(const struct jmes_node *node)
{
    switch (node->kind) {
    case JMES_NODE_FIELD:
        return json_string_value(node->literal);
    case JMES_NODE_CHAIN:
    case JMES_NODE_PROJECTION:
    case JMES_NODE_VALUE_PROJECTION:
    case JMES_NODE_FILTER: {
        const char *right = title_of(node->right);
        /* A new list has its own columns; what it is made of would not head them. */
        bool is_made = node->right->kind == JMES_NODE_LIST || node->right->kind == JMES_NODE_HASH ||
                       node->right->kind == JMES_NODE_FUNCTION;
        return right[0] || is_made ? right : title_of(node->left);
    }
    case JMES_NODE_FLATTEN:
    case JMES_NODE_OR:
    case JMES_NODE_AND:
        return title_of(node->left);
    case JMES_NODE_FUNCTION:
        return function_title(node);
    case JMES_NODE_CURRENT:
    case JMES_NODE_LITERAL:
    case JMES_NODE_INDEX:
    case JMES_NODE_SLICE:
    case JMES_NODE_NOT:
    case JMES_NODE_COMPARE:
    case JMES_NODE_LIST:
    case JMES_NODE_HASH:
    case JMES_NODE_EXPREF:
        break;
    }
    return "";
}

/* The multi-select list whose elements are the columns; NULL: there is none. */
static const struct jmes_node *columns_of(const struct jmes_node *node)
{
    while (node) {
        size_t argument = 0;
        if (node->kind == JMES_NODE_LIST)
            return node;
        if (node->kind == JMES_NODE_CHAIN || node->kind == JMES_NODE_PROJECTION ||
            node->kind == JMES_NODE_VALUE_PROJECTION || node->kind == JMES_NODE_FILTER) {
            const struct jmes_node *right = columns_of(node->right);
            if (right)
                return right;
            /* Picking from a list of rows leaves the columns; a member of a row does not. */
            if (title_of(node->right)[0])
                return NULL;
            node = node->left;
        } else if (node->kind == JMES_NODE_FLATTEN) {
            node = node->left;
        } else if (node->kind == JMES_NODE_FUNCTION &&
                   jmes_function_keeps_items(node->function, &argument) && argument == 0) {
            node = node->children->left;
        } else {
            return NULL;
        }
    }
    return NULL;
}

const char *jmes_title(const struct jmes *expression)
{
    return title_of(expression->root);
}

const char *jmes_column_title(const struct jmes *expression, size_t n)
{
    const struct jmes_node *list = columns_of(expression->root);
    const struct jmes_node *child = list ? list->children : NULL;
    while (child && n-- > 0)
        child = child->next;
    return child ? title_of(child->left) : NULL;
}

bool jmes_is_about(const struct jmes *expression, const char *member)
{
    const struct jmes_node *node = expression->root;
    while (node->left)
        node = node->left;
    return node->kind == JMES_NODE_FIELD && strcmp(json_string_value(node->literal), member) == 0;
}
