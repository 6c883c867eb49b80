/** How often, and how far apart, a subject looks again that one look cannot tell. */

/**
 * A statement that ends by itself mostly ends within their second. One look more than the first would not do, because a
 * process that writes all the time may hold the same lock at the same frame by chance.
 */
export const looks = 10
export const lookInterval = "100 millis"
