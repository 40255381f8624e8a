'use strict';
// Apollo's GraphQL server: GET /?query={…}.
const { ApolloServer } = require('@apollo/server');
const { startStandaloneServer } = require('@apollo/server/standalone');
const { up, work } = require('./common.cjs');

const typeDefs = 'type Row { i: Int text: String } type Query { n: Int rows: [Row] }';
const resolvers = {
  Query: {
    n: () => work().n,
    rows: async () => Array.from({ length: 30 }, (_, i) => ({ i, text: `row ${i}` })),
  },
};
const server = new ApolloServer({ typeDefs, resolvers, csrfPrevention: false });
startStandaloneServer(server, { listen: { port: 0, host: '127.0.0.1' } })
  .then(({ url }) => up(Number(new URL(url).port)));
