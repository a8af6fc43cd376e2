/**
 * The body of every refused request.
 *
 * @see Engine API v1.51, ErrorResponse
 */
export interface ErrorResponse {
  readonly message: string;
}

/**
 * The body of a create that answers with an id alone.
 *
 * @see Engine API v1.51, IDResponse
 */
export interface IdResponse {
  readonly Id: string;
}
