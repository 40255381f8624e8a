'use strict';
// A GraphQL server over HTTP: GET /?query={…}.
const { GraphQLInt, GraphQLList, GraphQLObjectType, GraphQLSchema, GraphQLString } = require('graphql');
const { createHandler } = require('graphql-http/lib/use/http');
const { up, work } = require('./common.cjs');

const row = new GraphQLObjectType({ name: 'Row', fields: { i: { type: GraphQLInt }, text: { type: GraphQLString } } });
const query = new GraphQLObjectType({
  name: 'Query',
  fields: {
    n: { type: GraphQLInt, resolve: () => work().n },
    rows: {
      type: new GraphQLList(row),
      resolve: async () => Array.from({ length: 30 }, (_, i) => ({ i, text: `row ${i}` })),
    },
  },
});
const handler = createHandler({ schema: new GraphQLSchema({ query }) });
require('http').createServer(handler)
  .listen(0, '127.0.0.1', function () { up(this.address().port); });
